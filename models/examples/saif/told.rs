//! Which instructions the model follows when they are said.
use crate::measure::{Bench, run};
use crate::tasks::{Instruction, instructions};
use crate::{Outcome, progress};
use latens::lm::{Continuation, Hooks};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How often an instruction is followed, by the contents that strengths are chosen by.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub instruction: String,
    /// Of so many contents.
    pub n: usize,
    /// Strictly, as shares: not said, said before the content and behind it.
    pub plain: f64,
    pub before: f64,
    pub behind: f64,
}

/// The instructions that are asked for, each said to the model.
pub fn told(bench: &Bench<'_>) -> Outcome<Vec<(Instruction, Told)>> {
    let (options, mut all) = (bench.options, instructions());
    all.retain(|of| options.asks_for(of.name));
    let plain = run(bench.lm, options.said).go(&bench.prompts(1, None, true)?, |_| Ok(Hooks::new()), |_| ())?;
    let settings = json!([options.contents, options.said]);
    let bar = progress("said", all.len());
    let one = |of: Instruction| {
        bar.set_message(of.name);
        let name = format!("saif-said-{}", of.name);
        let told = options.common.part(bench.lm, &name, &settings, || Told::measure(bench, &of, &plain))?;
        bar.suspend(|| told.print(options.least));
        bar.inc(1);
        Ok((of, told))
    };
    let told = all.into_iter().map(one).collect();
    bar.finish();
    told
}

impl Told {
    fn measure(bench: &Bench<'_>, instruction: &Instruction, plain: &[Continuation]) -> Outcome<Self> {
        let share = |said: &[Continuation]| {
            let strict = said.iter().filter(|of| instruction.grader.grade(&of.text).strict()).count();
            strict as f64 / said.len().max(1) as f64
        };
        let said = |after| -> Outcome<f64> {
            let prompts = bench.prompts(1, Some(instruction.wordings[0]), after)?;
            Ok(share(&run(bench.lm, bench.options.said).go(&prompts, |_| Ok(Hooks::new()), |_| ())?))
        };
        let instruction = instruction.name.into();
        Ok(Self { instruction, n: plain.len(), plain: share(plain), before: said(false)?, behind: said(true)? })
    }

    /// How much more often it is followed where it is said.
    pub fn gain(&self) -> f64 {
        self.before.max(self.behind) - self.plain
    }

    fn print(&self, least: f64) {
        let [plain, before, behind] = [self.plain, self.before, self.behind].map(|share| 100.0 * share);
        let what = if self.gain() >= least { "" } else { ": left out" };
        println!(
            "{:<10} followed {plain:>5.1} % not said, {before:>5.1} said before, {behind:>5.1} said behind{what}",
            self.instruction
        );
    }
}
