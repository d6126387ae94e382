//! One random step of the comparison with the model.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::world::{job, job_of};
use crate::job::{Conclusion, Job, Phase};
use crate::store::{Counted, GiveBack};
use crate::vm::Stage;

pub(super) const N_JOBS: usize = 6;
pub(super) const HANDLERS: [&str; 4] = ["a1", "a2", "b1", "b2"];
/// Two of each handler.
pub(super) const N_VMS: usize = 8;
const SOME_LABELS: usize = 1;

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
        job: Option<usize>,
        stage: Stage,
        few_labels: bool,
    },
    RemoveVm(usize),
    Adopt {
        handler: usize,
        vm: usize,
    },
    Lease {
        process: usize,
        gone: bool,
    },
    Release {
        process: usize,
    },
    Advance(Duration),
    SetBack(Duration),
    /// The answer to the last step was lost.
    Again,
}

/// Job `n` in attempt `attempt`. 0, 1 and 2 are of one group, and of labels that fit each other's VMs; 5 tells no date.
pub(super) fn job_in(n: usize, attempt: u32) -> Job {
    let id = n as u64;
    let mut job = match n {
        3 => job_of(id, "T2"),
        _ => job(id),
    };
    match n {
        2 => job.created_at = super::world::job(1).created_at,
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

/// The labels of a VM made for the job, or too few for any.
pub(super) fn labels(job: &Job, few: bool) -> Vec<String> {
    job.labels.iter().take(if few { SOME_LABELS } else { usize::MAX }).cloned().collect()
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_news(),
        7 => any_claim(),
        4 => any_put(),
        7 => any_end(),
        3 => key().prop_flat_map(|(handler, age)| prop_oneof![
            Just(Step::Look(handler, age)),
            Just(Step::Renew(handler, age)),
            Just(Step::Pause(handler, age)),
            Just(Step::Pause(handler, age)),
            Just(Step::Resume(handler, age)),
        ]),
        1 => (0..N_VMS).prop_map(Step::RemoveVm),
        2 => (0..HANDLERS.len(), any::<bool>(), 0..N_VMS).prop_map(|(handler, own, vm)| {
            Step::Adopt { handler, vm: if own { handler * 2 + vm % 2 } else { vm } }
        }),
        1 => (0..3usize, any::<bool>()).prop_map(|(process, gone)| Step::Lease { process, gone }),
        1 => (0..3usize).prop_map(|process| Step::Release { process }),
        3 => prop_oneof![1..10u64, 20..40u64, 85..95u64].prop_map(|n| Step::Advance(Duration::from_secs(n))),
        1 => (1..40u64).prop_map(|n| Step::SetBack(Duration::from_secs(n))),
        3 => Just(Step::Again),
    ]
}

fn key() -> impl Strategy<Value = (usize, usize)> {
    (0..HANDLERS.len(), prop_oneof![8 => Just(0usize), 1 => 1..3usize])
}

fn any_news() -> impl Strategy<Value = Step> {
    let runner = prop_oneof![
        4 => (0..N_VMS).prop_map(|n| Some(vm_name(n))),
        1 => Just(Some("elsewhere".to_owned())),
        2 => Just(None),
    ];
    let phase = (0..7u8, runner).prop_map(|(phase, runner)| match phase {
        0..3 => Phase::Queued,
        3..6 => Phase::InProgress { runner },
        _ => Phase::Completed { conclusion: Conclusion::Success, runner },
    });
    let attempt = prop_oneof![12 => Just(1u32), 1 => Just(2u32)];
    let often = prop_oneof![4 => Just(true), 1 => Just(false)];
    (0..N_JOBS, attempt, phase, any::<bool>(), often)
        .prop_map(|(job, attempt, phase, by_api, for_us)| Step::News { job, attempt, phase, by_api, for_us })
}

fn any_claim() -> impl Strategy<Value = Step> {
    let pass = prop_oneof![4 => Just(None), 1 => (0..N_JOBS).prop_map(Some)];
    let often = prop_oneof![4 => Just(true), 1 => Just(false)];
    (0..HANDLERS.len(), pass, often, any::<bool>()).prop_map(|(handler, pass, take_over, long)| Step::Claim {
        handler,
        pass,
        take_over,
        long,
    })
}

fn any_put() -> impl Strategy<Value = Step> {
    let stage = prop_oneof![
        Just(Stage::Cloning),
        Just(Stage::Waiting),
        Just(Stage::Waiting),
        Just(Stage::Running),
        Just(Stage::Deleting),
    ];
    let job = prop_oneof![5 => (0..N_JOBS).prop_map(Some), 1 => Just(None)];
    (key(), prop_oneof![5 => Just(true), 1 => Just(false)], any::<bool>(), job, stage, any::<bool>())
        .prop_map(|((handler, age), keyed, second, job, stage, few_labels)| Step::PutVm {
            handler,
            age: keyed.then_some(age),
            second,
            job,
            stage,
            few_labels,
        })
}

fn any_end() -> impl Strategy<Value = Step> {
    let counted = prop_oneof![Just(Counted::Yes), Just(Counted::No), Just(Counted::OncePerHost)];
    let some_seconds = || prop_oneof![0..1u64, 1..30u64].prop_map(Duration::from_secs);
    let avoids = prop_oneof![Just(None), some_seconds().prop_map(Some)];
    let how = (0..9u8, counted, some_seconds(), avoids).prop_map(|(reason, counted, hold, host_avoids)| {
        GiveBack { reason: format!("reason {reason}"), counted, hold, host_avoids }
    });
    (key(), how, 0..5u8).prop_map(|((handler, age), how, verb)| match verb {
        0..3 => Step::GiveBack(handler, age, how),
        3 => Step::LeaveRunning(handler, age),
        _ => Step::Finish(handler, age),
    })
}
