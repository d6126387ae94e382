//! Misbehaviour on demand: rules in `plan.json`, which a test may write while everything runs.
//!
//! The file also keeps how often each rule was met and used; whoever writes it anew starts the counting anew.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::trace::TraceLine;
use crate::world::World;

/// One rule of the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default, rename = "match")]
    matches: Match,
    #[serde(default = "once")]
    times: i64,
    #[serde(rename = "do")]
    action: Action,
    #[serde(default)]
    seen: u64,
    #[serde(default)]
    used: i64,
}

fn once() -> i64 {
    1
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Match {
    verb: Option<String>,
    arg_contains: Option<String>,
    nth: Option<u64>,
}

/// What a rule makes a command do; the keys may be combined.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Action {
    pub(crate) fail: Option<Fail>,
    pub(crate) hang: Option<Hang>,
    pub(crate) ignore_term: bool,
    /// Length of a hang, or the pause on both sides of `kill_caller: during`.
    pub(crate) ms: Option<u64>,
    pub(crate) delay_ms: u64,
    pub(crate) print: Option<String>,
    pub(crate) exit: Option<i32>,
    /// `fail` and `print` answer for a command that did its work all the same.
    pub(crate) effect: bool,
    pub(crate) stderr: Option<String>,
    pub(crate) prefix_lines: Vec<String>,
    pub(crate) kill_caller: Option<Moment>,
    pub(crate) vm_dies_after_ms: Option<u64>,
    pub(crate) gone: bool,
    pub(crate) half_then_fail: bool,
    pub(crate) vm_fails: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fail {
    #[serde(default = "general")]
    pub(crate) code: i32,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) exit: Option<i32>,
}

fn general() -> i32 {
    1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Moment {
    Before,
    During,
    After,
}

/// `true` means before the work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Hang {
    Plain(bool),
    At(Moment),
}

impl Action {
    /// Whether to hang at that moment.
    pub(crate) fn hangs(&self, moment: Moment) -> bool {
        match self.hang {
            Some(Hang::Plain(yes)) => yes && moment == Moment::Before,
            Some(Hang::At(at)) => at == moment,
            None => false,
        }
    }
}

impl Match {
    fn fits(&self, verb: &str, argv: &[String]) -> bool {
        self.verb.as_deref().is_none_or(|wanted| wanted == "*" || wanted == verb)
            && self.arg_contains.as_deref().is_none_or(|text| argv.iter().any(|word| word.contains(text)))
    }
}

/// Uses up the first rule that applies to this command; every rule that fits counts it.
pub(crate) fn take(world: &World, verb: &str, argv: &[String]) -> io::Result<Action> {
    let file = world.root.join("plan.json");
    if !file.exists() {
        return Ok(Action::default());
    }
    let _lock = world.lock()?;
    let mut rules: Vec<Rule> = serde_json::from_slice(&fs::read(&file)?)?;
    let mut taken = None;
    for (index, rule) in rules.iter_mut().enumerate() {
        if !rule.matches.fits(verb, argv) {
            continue;
        }
        rule.seen += 1;
        let due = rule.matches.nth.is_none_or(|nth| rule.seen >= nth);
        if taken.is_none() && due && (rule.times < 0 || rule.used < rule.times) {
            rule.used += 1;
            let line = TraceLine::new("rule", verb).with("rule", index);
            world.trace(&line.with("do", serde_json::to_value(&rule.action)?));
            taken = Some(rule.action.clone());
        }
    }
    world.write("plan.json", &serde_json::to_vec_pretty(&rules)?)?;
    Ok(taken.unwrap_or_default())
}

/// Replaces the plan; the error says what is wrong with it.
pub(crate) fn set(world: &World, rules: &serde_json::Value) -> io::Result<()> {
    let rules: Vec<Rule> = serde_json::from_value(rules.clone())?;
    let _lock = world.lock()?;
    world.write("plan.json", &serde_json::to_vec_pretty(&rules)?)
}

/// Adds one rule behind those that are there.
pub(crate) fn arm(world: &World, rule: &serde_json::Value) -> io::Result<()> {
    let rule: Rule = serde_json::from_value(rule.clone())?;
    let _lock = world.lock()?;
    let mut rules: Vec<Rule> = match fs::read(world.root.join("plan.json")) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Vec::new(),
    };
    rules.push(rule);
    world.write("plan.json", &serde_json::to_vec_pretty(&rules)?)
}
