//! Which instructions the model follows when they are said.
use crate::measure::{Bench, follows, run};
use crate::shared::ones;
use crate::tasks::{Instruction, instructions};
use crate::{Options, Outcome, progress};
use latens::lm::{Continuation, Hooks};
use latens::steer::statistics::{Interval, bootstrap};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How often an instruction is followed, by the contents that strengths are chosen by.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub instruction: String,
    /// Strictly: not said, said before the content and behind it.
    pub plain: Interval,
    pub before: Interval,
    pub behind: Interval,
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
        let Options { said: most, common, .. } = bench.options;
        let share = |said: &[Continuation]| {
            bootstrap(&ones(said.iter().map(|of| follows(instruction, of, *most).0)), common.seed)
        };
        let said = |after| -> Outcome<Interval> {
            let prompts = bench.prompts(1, Some(instruction.wordings[0]), after)?;
            Ok(share(&run(bench.lm, *most).go(&prompts, |_| Ok(Hooks::new()), |_| ())?)?)
        };
        let instruction = instruction.name.into();
        Ok(Self { instruction, plain: share(plain)?, before: said(false)?, behind: said(true)? })
    }

    /// How much more often it is followed where it is said.
    pub fn gain(&self) -> f64 {
        self.before.mean.max(self.behind.mean) - self.plain.mean
    }

    fn print(&self, least: f64) {
        let [plain, before, behind] = [self.plain, self.before, self.behind].map(|share| 100.0 * share.mean);
        let what = if self.gain() >= least { "" } else { ": left out" };
        println!(
            "{:<10} followed {plain:>5.1} % not said, {before:>5.1} said before, {behind:>5.1} said behind{what}",
            self.instruction
        );
    }
}
