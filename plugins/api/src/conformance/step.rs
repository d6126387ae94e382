//! One random step of the comparison with the model.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::made::{LIFE, job, job_of};
use super::world::RIPE;
use crate::job::{Conclusion, Job, Phase};
use crate::store::{Counted, GiveBack};
use crate::vm::Stage;

pub(super) const N_JOBS: usize = 6;
pub(super) const HANDLERS: [&str; 4] = ["a1", "a2", "b1", "b2"];
/// Two of each handler.
pub(super) const N_VMS: usize = 8;

/// What is done next, in both stores.
#[derive(Clone, Debug)]
pub(super) enum Step {
    News {
        job: usize,
        attempt: u32,
        phase: Phase,
        by_api: bool,
        for_us: bool,
    },
    Claim {
        handler: usize,
        pass: Option<usize>,
        take_over: bool,
        long: bool,
    },
    /// The job that one handler's claim is on begins on a VM of the same or another handler, or is even over there.
    Begin {
        job_of: usize,
        vm: usize,
        is_over: bool,
    },
    /// With a key of the handler: 0 is the newest.
    Look(usize, usize),
    Renew(usize, usize),
    GiveBack(usize, usize, GiveBack),
    Pause(usize, usize),
    Resume(usize, usize),
    LeaveRunning(usize, usize),
    Finish(usize, usize),
    PutVm {
        handler: usize,
        age: Option<usize>,
        second: bool,
        made_for: MadeFor,
        stage: Stage,
        few_labels: bool,
    },
    RemoveVm(usize),
    Adopt {
        handler: usize,
        vm: usize,
    },
    Forsaken {
        told: usize,
    },
    Lease {
        process: usize,
        gone: bool,
    },
    Release {
        process: usize,
    },
    ByHand {
        job: usize,
        retry: bool,
    },
    Advance(Duration),
    SetBack(Duration),
    /// A claim, and a VM for it, waiting.
    Prepare {
        handler: usize,
        second: bool,
    },
    /// Every claim runs out; this handler looks, and looks again when the marks are ripe.
    Outlive {
        handler: usize,
    },
    /// The answer to the last verb was lost.
    Again,
}

/// Which job a record names.
#[derive(Clone, Copy, Debug)]
pub(super) enum MadeFor {
    /// The one that the handler's claim is on, else job 0.
    Claimed,
    Job(usize),
    Nobody,
}

impl Step {
    /// The step as single verbs.
    pub(super) fn verbs(&self) -> Vec<Step> {
        let claim = |handler| Step::Claim { handler, pass: None, take_over: true, long: true };
        match *self {
            Step::Prepare { handler, second } => {
                let (made_for, stage) = (MadeFor::Claimed, Stage::Waiting);
                let put = Step::PutVm { handler, age: Some(0), second, made_for, stage, few_labels: false };
                vec![claim(handler), put]
            }
            Step::Outlive { handler } => {
                vec![Step::Advance(LIFE), claim(handler), Step::Advance(RIPE), claim(handler)]
            }
            _ => vec![self.clone()],
        }
    }
}

/// Job `n` in attempt `attempt`. 0, 1 and 2 are of one group; 3 has other labels; 5 tells no date.
pub(super) fn job_in(n: usize, attempt: u32) -> Job {
    let id = n as u64;
    let mut job = if n == 3 { job_of(id, "T2") } else { job(id) };
    match n {
        2 => job.created_at = super::made::job(1).created_at,
        4 => {
            job.repo = "Tools".to_owned();
            job.enterprise = Some("big".to_owned());
        }
        5 => {
            job.created_at = None;
            job.enterprise = Some("small".to_owned());
        }
        _ => {}
    }
    job.run_attempt = attempt;
    job
}

pub(super) fn vm_name(n: usize) -> String {
    format!("vm-{n}")
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_news(),
        8 => any_begin(),
        4 => any_claim(),
        10 => (0..HANDLERS.len(), mostly()).prop_map(|(handler, first)| Step::Prepare { handler, second: !first }),
        2 => (0..HANDLERS.len()).prop_map(|handler| Step::Outlive { handler }),
        3 => any_put(),
        4 => any_end(),
        4 => any_use_of_a_key(),
        1 => (0..N_VMS).prop_map(Step::RemoveVm),
        4 => any_adoption(),
        1 => (0..N_VMS).prop_map(|told| Step::Forsaken { told }),
        1 => (0..3usize, any::<bool>()).prop_map(|(process, gone)| Step::Lease { process, gone }),
        1 => (0..3usize).prop_map(|process| Step::Release { process }),
        1 => (0..N_JOBS, any::<bool>()).prop_map(|(job, retry)| Step::ByHand { job, retry }),
        3 => prop_oneof![1..10u64, 20..40u64, 85..95u64].prop_map(|n| Step::Advance(Duration::from_secs(n))),
        1 => (1..40u64).prop_map(|n| Step::SetBack(Duration::from_secs(n))),
        3 => Just(Step::Again),
    ]
}

/// Every job once, so that the steps after these find something to do.
pub(super) fn all_jobs() -> Vec<Step> {
    let queued = |job| Step::News { job, attempt: 1, phase: Phase::Queued, by_api: false, for_us: true };
    (0..N_JOBS).map(queued).collect()
}

fn key() -> impl Strategy<Value = (usize, usize)> {
    (0..HANDLERS.len(), prop_oneof![8 => Just(0usize), 1 => 1..3usize])
}

fn mostly() -> impl Strategy<Value = bool> {
    prop_oneof![4 => Just(true), 1 => Just(false)]
}

fn any_news() -> impl Strategy<Value = Step> {
    let runner = prop_oneof![
        14 => (0..N_VMS).prop_map(|n| Some(vm_name(n))),
        1 => Just(Some("elsewhere".to_owned())),
        2 => Just(None),
    ];
    let phase = (0..12u8, runner).prop_map(|(phase, runner)| match phase {
        0..4 => Phase::Queued,
        4..11 => Phase::InProgress { runner },
        _ => Phase::Completed { conclusion: Conclusion::Success, runner },
    });
    let attempt = prop_oneof![16 => Just(1u32), 2 => Just(2u32), 1 => Just(3u32)];
    (0..N_JOBS, attempt, phase, 0..3u8, mostly()).prop_map(|(job, attempt, phase, by_api, for_us)| {
        Step::News { job, attempt, phase, by_api: by_api == 0, for_us }
    })
}

fn any_begin() -> impl Strategy<Value = Step> {
    (0..HANDLERS.len(), any::<bool>(), 0..HANDLERS.len(), mostly(), mostly()).prop_map(
        |(job_of, own, other, first, runs)| {
            let vm = if own { job_of } else { other } * 2 + usize::from(!first);
            Step::Begin { job_of, vm, is_over: !runs }
        },
    )
}

fn any_claim() -> impl Strategy<Value = Step> {
    let pass = prop_oneof![4 => Just(None), 1 => (0..N_JOBS).prop_map(Some)];
    (0..HANDLERS.len(), pass, mostly(), any::<bool>())
        .prop_map(|(handler, pass, take_over, long)| Step::Claim { handler, pass, take_over, long })
}

fn any_put() -> impl Strategy<Value = Step> {
    let stage = prop_oneof![
        Just(Stage::Cloning),
        Just(Stage::Waiting),
        Just(Stage::Waiting),
        Just(Stage::Running),
        Just(Stage::Deleting),
    ];
    let made_for = prop_oneof![
        4 => Just(MadeFor::Claimed),
        2 => (0..N_JOBS).prop_map(MadeFor::Job),
        1 => Just(MadeFor::Nobody),
    ];
    (key(), mostly(), any::<bool>(), made_for, stage, any::<bool>()).prop_map(
        |((handler, age), keyed, second, made_for, stage, few_labels)| Step::PutVm {
            handler,
            age: keyed.then_some(age),
            second,
            made_for,
            stage,
            few_labels,
        },
    )
}

fn any_use_of_a_key() -> impl Strategy<Value = Step> {
    (key(), 0..6u8).prop_map(|((handler, age), verb)| match verb {
        0 => Step::Look(handler, age),
        1 => Step::Renew(handler, age),
        2 => Step::Resume(handler, age),
        _ => Step::Pause(handler, age),
    })
}

fn any_adoption() -> impl Strategy<Value = Step> {
    (0..HANDLERS.len(), mostly(), 0..N_VMS).prop_map(|(handler, own, vm)| Step::Adopt {
        handler,
        vm: if own { handler * 2 + vm % 2 } else { vm },
    })
}

fn any_end() -> impl Strategy<Value = Step> {
    let counted = prop_oneof![Just(Counted::Yes), Just(Counted::No), Just(Counted::OncePerHost)];
    let some_seconds = || prop_oneof![0..1u64, 1..30u64].prop_map(Duration::from_secs);
    let avoids = prop_oneof![Just(None), some_seconds().prop_map(Some)];
    let how = (0..9u8, counted, some_seconds(), avoids).prop_map(|(reason, counted, hold, host_avoids)| {
        GiveBack { reason: format!("reason {reason}"), counted, hold, host_avoids }
    });
    (key(), how, 0..8u8).prop_map(|((handler, age), how, verb)| match verb {
        0..4 => Step::GiveBack(handler, age, how),
        4..7 => Step::LeaveRunning(handler, age),
        _ => Step::Finish(handler, age),
    })
}
