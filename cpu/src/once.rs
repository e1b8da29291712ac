//! Generic functions whose instances are compiled here, once, and not again in every crate that calls them: these kernels took most
//! of the time that a program took to build.
//!
//! What is public looks its instance up by the element type, and calls it by its address.
#![allow(unsafe_code)]
use latens_kernels::DType;

/// The addresses of a function for `f32`, `f16`, `bf16` and `f64`.
pub(crate) struct Instances(pub [*const (); 4]);

// SAFETY: these are addresses of functions.
unsafe impl Sync for Instances {}

impl Instances {
    /// That of the function for `dtype`.
    pub(crate) fn of(&self, dtype: DType) -> *const () {
        match dtype {
            DType::F32 => self.0[0],
            DType::F16 => self.0[1],
            DType::BF16 => self.0[2],
            DType::F64 => self.0[3],
            _ => unreachable!("a Float is one of four"),
        }
    }
}

/// `pub fn NAME<T>(..) = INNER;` is a function that calls the generic function `INNER`, which has the same arguments.
///
/// Before it, `pub fn SHORT;` is `NAME` without its first argument, a level: the best.
macro_rules! once {
    (
        $(#[$short_doc:meta])* pub fn $short:ident;
        $(#[$doc:meta])* pub fn $name:ident<$T:ident>(level: Level, $($arg:ident: $of:ty),* $(,)?) $(-> $out:ty)? = $inner:ident;
    ) => {
        $(#[$short_doc])*
        pub fn $short<$T: latens_kernels::Float>($($arg: $of),*) $(-> $out)? {
            $name($crate::level::Level::best(), $($arg),*)
        }
        $crate::once::once! {
            $(#[$doc])* pub fn $name<$T>(level: $crate::level::Level, $($arg: $of),*) $(-> $out)? = $inner;
        }
    };
    ($(#[$doc:meta])* pub fn $name:ident<$T:ident>($($arg:ident: $of:ty),* $(,)?) $(-> $out:ty)? = $inner:ident;) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        pub fn $name<$T: latens_kernels::Float>($($arg: $of),*) $(-> $out)? {
            use latens_kernels::{bf16, f16};
            #[allow(type_alias_bounds)]
            type Same<$T: latens_kernels::Float> = fn($($of),*) $(-> $out)?;
            // Compiles only where the instances are of the type that they are called by.
            const _: (Same<f32>, Same<f16>, Same<bf16>, Same<f64>) =
                ($inner::<f32>, $inner::<f16>, $inner::<bf16>, $inner::<f64>);
            static INSTANCES: $crate::once::Instances = $crate::once::Instances([
                $inner::<f32> as *const (),
                $inner::<f16> as *const (),
                $inner::<bf16> as *const (),
                $inner::<f64> as *const (),
            ]);
            let instance = INSTANCES.of(<$T as latens_kernels::Element>::DTYPE);
            // SAFETY: no two types of elements have one name, so this is the address of `$inner::<$T>`, which has this type (`Same`).
            let instance = unsafe { core::mem::transmute::<*const (), fn($($of),*) $(-> $out)?>(instance) };
            instance($($arg),*)
        }
    };
}
pub(crate) use once;
