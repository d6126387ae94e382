//! The scripted VM host does as planned.

use super::*;
use crate::stop;

#[test]
fn plans_come_in_their_order_and_then_the_usual_work() {
    let (host, vm, ear) = (ScriptedVmHost::default(), VmName::new("vm"), Ear::deaf());
    let remote = RemoteImage { template: "t".to_owned(), tag: None, size: None };
    let image = host.pull_image(&remote, &ImageSource::default(), &ear).unwrap();
    host.plan(Verb::CloneImage, Plan::Fail(VmError::Busy));
    host.plan(Verb::CloneImage, Plan::FailDone(VmError::Busy));
    assert!(matches!(host.clone_image(&image, &vm, &ear), Err(VmError::Busy)));
    assert!(host.vms().is_empty());
    assert!(matches!(host.clone_image(&image, &vm, &ear), Err(VmError::Busy)));
    assert!(matches!(host.clone_image(&image, &vm, &ear), Err(VmError::Failed { code: 18, .. })));
    host.start(&vm, &ear).unwrap();
    assert_eq!(host.vms(), BTreeMap::from([(vm.clone(), true)]));
    host.delete(&vm, &ear).unwrap();
    assert!(matches!(host.start(&vm, &ear), Err(VmError::NotFound { .. })));
    assert_eq!(host.calls().len(), 7);
}

#[test]
fn a_hang_ends_with_the_ear() {
    let (host, vm) = (ScriptedVmHost::default(), VmName::new("vm"));
    let (stopper, stop) = stop::stop();
    host.plan(Verb::Delete, Plan::Hang);
    drop(stopper);
    assert!(matches!(host.delete(&vm, &Ear::to_stop(&stop)), Err(VmError::Cut { verb: "delete" })));
}

#[test]
fn a_guest_answers_by_the_name_of_the_run() {
    let (host, vm, ear) = (ScriptedVmHost::default(), VmName::new("vm"), Ear::deaf());
    host.put_vm(&vm, true);
    host.on_run("register", |call| Ok(GuestOutput(call.input.as_ref().unwrap().reveal().to_owned())));
    let input = Secret::new("token");
    let run = GuestRun {
        name: "register",
        line: "cat",
        input: Some(&input),
        limit: Duration::from_secs(1),
        n_kept_bytes: 1_000,
    };
    assert_eq!(host.run(&vm, &run, &ear).unwrap(), GuestOutput("token".to_owned()));
    let run = GuestRun { name: "other", line: "true", input: None, ..run };
    assert_eq!(host.run(&vm, &run, &ear).unwrap(), GuestOutput::default());
}
