//! The C interface from C: programs are compiled against the static and the shared library, and run on the host and, by
//! the emulator's `libcuda.so`, on CUDA.
use latens_c as _; // so that cargo builds the libraries beside this test
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Run to its end; what it printed.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{text}");
    text
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A folder for what a test makes.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c_api").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Where cargo put `liblatens_c.so` and `liblatens_c.a`: beside this test, or where a finished build ends.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let places = test.ancestors().skip(1).take(2).map(Path::to_path_buf);
    let has = |place: &PathBuf| place.join("liblatens_c.so").is_file() && place.join("liblatens_c.a").is_file();
    places.clone().find(has).unwrap_or_else(|| panic!("no liblatens_c.so and .a in {:?}", places.collect::<Vec<_>>()))
}

/// What the static library needs of the system.
const SYSTEM: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

/// Compile `source` against the library of that `kind`, "shared" or "static".
fn compile(source: &str, kind: &str) -> PathBuf {
    let path = root().join(source);
    let plain_c = path.extension() == Some(OsStr::new("c"));
    let (compiler, standard) = if plain_c { ("CC", "-std=c11") } else { ("CXX", "-std=c++17") };
    let program = scratch(kind).join(source.replace(['/', '.'], "-"));
    let compiler = std::env::var(compiler).unwrap_or(if plain_c { "cc" } else { "c++" }.into());
    let mut command = Command::new(compiler);
    let warnings = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];
    command.arg(standard).args(warnings).arg("-I").arg(root().join("bindings/include")).arg(&path);
    match kind {
        "shared" => {
            let place = libraries();
            command.arg("-L").arg(&place).arg("-llatens_c").arg(format!("-Wl,-rpath,{}", place.display())).args(SYSTEM)
        }
        _ => command.arg(libraries().join("liblatens_c.a")).args(SYSTEM),
    };
    run(command.arg("-o").arg(&program));
    program
}

/// What runs a program that was linked with the shared library. Cargo's own search path, which goes before that of the
/// program, may lead to an older one.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", libraries());
    command
}

/// On the host, then on the emulator.
fn run_both(program: &Path) {
    println!("{}", run(&mut command(program)));
    let emulator = Path::new(latens_emulator::LIBRARY).parent().unwrap();
    let path = std::env::join_paths([emulator, &libraries()]).unwrap();
    println!("{}", run(command(program).arg("cuda").env("LD_LIBRARY_PATH", path)));
}

#[test]
fn operations_shared() {
    run_both(&compile("tests/c/operations.c", "shared"));
}

#[test]
fn operations_static() {
    run_both(&compile("tests/c/operations.c", "static"));
}

/// The inline functions of `latens.hpp`, by their numbers.
#[test]
fn operations_from_cpp() {
    for program in ["tests/c/operations.cpp", "tests/c/families.cpp"] {
        println!("{}", run(&mut command(&compile(program, "shared"))));
    }
}

#[test]
fn training_from_cpp() {
    run_both(&compile("tests/c/training.cpp", "shared"));
}

#[test]
fn wrong_calls_are_errors() {
    println!("{}", run(&mut command(&compile("tests/c/garbage.c", "shared"))));
}

/// The installed package: headers, both libraries, CMake package, pkg-config file. Its root.
fn installed() -> PathBuf {
    static ONCE: OnceLock<PathBuf> = OnceLock::new();
    let install = || {
        let prefix = scratch("prefix");
        run(Command::new(root().join("bindings/install.sh")).arg(&prefix).arg(libraries()));
        prefix
    };
    ONCE.get_or_init(install).clone()
}

/// Whether a program of the system is there; `LATENS_REQUIRE_TOOLS=1` makes a missing one a failure.
fn tool(name: &str) -> bool {
    let there = Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
    let required = std::env::var_os("LATENS_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(there || !required, "LATENS_REQUIRE_TOOLS: {name} missing");
    if !there {
        println!("skipped: {name} missing");
    }
    there
}

/// The examples, through the CMake package, shared and static, built and run: one trains an autoencoder and saves a
/// checkpoint, one trains a scan with compressed gradients, one checks an attention layer by finite differences.
#[test]
fn examples_through_cmake() {
    if !tool("cmake") {
        return;
    }
    let prefix = installed();
    for library in ["OFF", "ON"] {
        let build = scratch(&format!("cmake-{library}"));
        let find = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
        let source = root().join("bindings/examples");
        let configure = [find, format!("-DLATENS_STATIC={library}"), "-DCMAKE_BUILD_TYPE=Release".into()];
        run(Command::new("cmake").arg("-S").arg(source).arg("-B").arg(&build).args(configure));
        run(Command::new("cmake").arg("--build").arg(&build));
        let command = |name: &str| {
            let mut command = Command::new(build.join(name));
            command.env("LD_LIBRARY_PATH", prefix.join("lib"));
            command
        };
        println!("{}", run(&mut command("operations")));
        println!("{}", run(&mut command("attention")));
        let checkpoint = build.join("checkpoint");
        let text = run(command("train_sae").args(["--steps", "200", "--out"]).arg(&checkpoint));
        println!("{text}");
        println!("{}", run(command("train_scan").arg("100")));
        assert!(checkpoint.join("cfg.json").is_file() && checkpoint.join("sae_weights.safetensors").is_file());
    }
}

/// A program finds the package through pkg-config alone.
#[test]
fn example_through_pkg_config() {
    if !tool("pkg-config") {
        return;
    }
    let prefix = installed();
    let asked = Command::new("pkg-config")
        .args(["--cflags", "--libs", "latens"])
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .output()
        .unwrap();
    let flags = String::from_utf8(asked.stdout).unwrap();
    let program = scratch("pkg-config").join("operations");
    let source = root().join("bindings/examples/operations.c");
    run(Command::new("cc").arg(source).args(flags.split_whitespace()).arg("-lm").arg("-o").arg(&program));
    println!("{}", run(Command::new(program).env("LD_LIBRARY_PATH", prefix.join("lib"))));
}

/// Every function of the header, by ctypes on DLPack tensors, against numpy.
#[test]
fn every_function_from_python() {
    let script = root().join("tests/python/entries/run.py");
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").arg(script);
    python.arg(libraries().join("liblatens_c.so")).arg(root().join("bindings/include/latens.h"));
    let required = std::env::var_os("LATENS_REQUIRE_NUMPY").is_some();
    let Output { status, stdout, stderr } = match python.output() {
        Ok(done) => done,
        Err(error) if !required => return println!("skipped: python3: {error}"),
        Err(error) => panic!("python3: {error}"),
    };
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    if status.code() == Some(3) && !required {
        return println!("skipped: {said}");
    }
    assert!(status.success(), "{said}");
    println!("{said}");
}
