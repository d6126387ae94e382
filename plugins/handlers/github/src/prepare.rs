//! From a claim to a runner that waits for its job: slot, image, clone, start, scripts, registration.
//!
//! Each stage is saved before the step it names. Whoever finds the record after a crash therefore knows what may exist.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::host::HostError;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::report::Fact;
use anklet_plugin_api::section::{RegistrationMode, Secret};
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{GuestRun, ReadyImage, Stage, VmError, VmRecord, VmVerb};

use crate::archives::Archives;
use crate::diagnostics::Traces;
use crate::facts::job_log;
use crate::hub::HubError;
use crate::outcome::{Blame, Failure, Outcome, Setback, vm_setback};
use crate::shell::quoted;
use crate::worker::{InHand, Worker, follow, fresh_vm_name};

/// How much of a script's output is kept.
const SCRIPT_OUTPUT_BYTES: usize = 64 << 10;

const START: &str = "./start-runner.bash";

/// Puts the configuration where the runner's program looks for it by itself, so that it is in no argument list of the guest either.
const READ_JIT_CONFIG: &str =
    "IFS= read -r ACTIONS_RUNNER_INPUT_JITCONFIG && export ACTIONS_RUNNER_INPUT_JITCONFIG && ";

impl Worker {
    /// Takes a slot of the host, makes sure of the image, and writes down that a VM is about to exist.
    pub(crate) fn take_in_hand(&mut self, claim: &mut Claim) -> Result<(ReadyImage, InHand), Outcome> {
        let vm = fresh_vm_name();
        let record = VmRecord {
            vm: vm.clone(),
            host: self.host.id().clone(),
            plugin: self.section.name.clone(),
            queue: self.section.queue.clone(),
            scope: self.section.scope.clone(),
            job: None,
            run: None,
            repository: String::new(),
            labels: claim.job.labels.clone(),
            stage: Stage::Cloning,
            jit: None,
            registering_at: None,
            registered_at: None,
            created_at: Moment::now(),
            failed_deletions: 0,
        };
        let mut hand = InHand { record, reservation: None, traces: Traces::default() };
        follow(&mut hand.record, &claim.job);
        match self.reserve_and_ready(claim, &mut hand) {
            Ok(image) => Ok((image, hand)),
            Err(Setback::Stopped) => Err(Outcome::GiveBack(Failure::stopped())),
            Err(Setback::Failed(failure)) => Err(Outcome::GiveBack(failure)),
            Err(Setback::Hopeless(reason)) => Err(Outcome::Cancel(reason)),
            Err(Setback::Useless) => Err(self.what_made_it_useless(claim, &mut hand.record)),
        }
    }

    /// From nothing to a runner that waits.
    pub(crate) fn prepare(
        &mut self,
        claim: &mut Claim,
        image: &ReadyImage,
        hand: &mut InHand,
    ) -> Result<(), Setback> {
        self.desk.take(&hand.record.vm);
        self.host.record(&hand.record).map_err(|error| ledger_setback(&error))?;

        let vm = hand.record.vm.clone();
        self.clone_image(claim, image, hand)?;
        job_log!(info, claim; "successfully cloned template to new vm", vmName:% = vm);

        self.save(claim, hand, Stage::Starting, self.vms.limit(VmVerb::Start))?;
        self.step(claim, hand, Counted::OncePerHost, |ear| self.vms.start(&vm, ear))?;
        job_log!(info, claim; "successfully started vm", vmName:% = vm);
        self.report.vm_started(&self.section.name);
        self.mount_folders(claim, hand)?;

        self.save(claim, hand, Stage::Copying, self.vms.limit(VmVerb::Copy) * 3)?;
        let scripts = self.scripts.ready().map_err(|error| {
            Setback::Failed(Failure::new(format!("guest scripts: {error}"), Counted::No, Blame::Host))
        })?;
        for script in scripts {
            self.step(claim, hand, Counted::Yes, |ear| self.vms.copy(&vm, script, ear))?;
        }

        self.install(claim, hand)?;
        let jit_config = match self.section.registration_mode {
            RegistrationMode::Token => self.register(claim, hand).map(|()| None)?,
            RegistrationMode::Jit => Some(self.register_jit(claim, hand)?),
        };

        self.save(claim, hand, Stage::StartingRunner, self.limits().start_runner)?;
        job_log!(info, claim; "starting github runner inside of vm", vmName:% = vm);
        self.start_runner(claim, hand, jit_config.as_ref())?;

        self.save(claim, hand, Stage::Waiting, self.limits().idle_look)?;
        job_log!(info, claim; "finished preparing anka VM with actions runner", vmName:% = vm);
        Ok(())
    }

    /// A pull that came in between is waited for.
    fn clone_image(&self, claim: &mut Claim, image: &ReadyImage, hand: &mut InHand) -> Result<(), Setback> {
        let vm = hand.record.vm.clone();
        loop {
            if let Some(created_at) = claim.job.created_at {
                // Only now is it known that there is such a template; what it took to find the image is told beside it.
                let template = claim.job.image.template.to_ascii_lowercase();
                let took = Moment::now().since(created_at);
                self.count(&Fact::Stage { template: &template, stage: "until_cloned", took });
            }
            self.save(claim, hand, Stage::Cloning, self.vms.limit(VmVerb::Clone))?;
            let error = match self.try_step(claim, hand, |ear| self.vms.clone_image(image, &vm, ear)) {
                Ok(()) => return Ok(()),
                Err(VmError::Busy) => {
                    self.wait_for_pull(claim, hand)?;
                    continue;
                }
                Err(error) => error,
            };
            // Somebody has deleted the template since it was looked at: that is no fault of the job.
            let is_gone = matches!(error, VmError::NotFound { .. });
            let counted = if is_gone { Counted::No } else { Counted::OncePerHost };
            return Err(self.vm_setback(&error, counted));
        }
    }

    /// Before anything runs in the guest: what runs there may look for these folders.
    fn mount_folders(&self, claim: &mut Claim, hand: &mut InHand) -> Result<(), Setback> {
        let vm = hand.record.vm.clone();
        for mount in &self.section.mounts {
            self.keep(claim, self.vms.limit(VmVerb::Mount));
            self.step(claim, hand, Counted::OncePerHost, |ear| self.vms.mount(&vm, mount, ear))?;
            let folder = mount.host.display();
            job_log!(info, claim; "mounted host folder into guest vm", vmName:% = vm, hostFolder:% = folder);
        }
        Ok(())
    }

    fn install(&mut self, claim: &mut Claim, hand: &mut InHand) -> Result<(), Setback> {
        let limit = self.limits().install_runner;
        self.save(claim, hand, Stage::Installing, limit + self.limits().github_retry_total)?;
        let archives =
            self.ask_hub(claim, hand, "no word of the runner's version", |ear| self.hub.archives(ear))?;
        job_log!(info, claim; "installing github runner inside of vm", vmName:% = hand.record.vm);
        let line = install_line(archives.as_ref());
        self.guest(claim, hand, "install-runner", &line, None, limit)?;
        if let (Some(archives), Some((_, output))) = (archives, hand.traces.scripts.last())
            && let Some(stale) = replaced_runner(output)
            && self.desk.is_first_stale_runner(&claim.job.image, &archives.version)
        {
            job_log!(
                warn, claim; "the runner in the template is not the one that GitHub wants and was replaced; put the new one into the template to save that time",
                found = stale, wanted = archives.version.as_str()
            );
        }
        Ok(())
    }

    /// From here on a runner may exist, so every undo begins with the fence.
    fn register(&mut self, claim: &mut Claim, hand: &mut InHand) -> Result<(), Setback> {
        let limit = self.limits().register_runner;
        let token = self.token(claim, hand)?;
        hand.record.registering_at = Some(Moment::now());
        self.save(claim, hand, Stage::Registering, limit)?;
        job_log!(info, claim; "registering github runner inside of vm", vmName:% = hand.record.vm);
        let url = self.hub.registration_url(&hand.record.scope);
        let line =
            register_line(&hand.record.vm, &url, &hand.record.labels, self.section.runner_group.as_deref());
        let input = Secret::new(format!("{}\n", token.reveal()));
        hand.traces.secret = Some(token);
        let registered = self.guest(claim, hand, "register-runner", &line, Some(&input), limit);
        hand.record.registered_at = Some(Moment::now());
        registered
    }

    /// A single-use configuration comes in by standard input, as the token does, and is an environment variable of the guest from there on.
    fn start_runner(
        &self,
        claim: &Claim,
        hand: &mut InHand,
        jit_config: Option<&Secret>,
    ) -> Result<(), Setback> {
        let limit = self.limits().start_runner;
        let Some(config) = jit_config else {
            return self.guest(claim, hand, "start-runner", START, None, limit);
        };
        let input = Secret::new(format!("{}\n", config.reveal()));
        hand.traces.secret = Some(config.clone());
        self.guest(claim, hand, "start-runner", &format!("{READ_JIT_CONFIG}{START}"), Some(&input), limit)
    }

    fn token(&self, claim: &Claim, hand: &InHand) -> Result<Secret, Setback> {
        self.keep(claim, self.limits().github_retry_total);
        self.ask_hub(claim, hand, "no registration token", |ear| self.hub.registration_token(ear))
    }

    /// Asks GitHub for something; cut when the process stops or the job needs no VM any more.
    pub(crate) fn ask_hub<T>(
        &self,
        claim: &Claim,
        hand: &InHand,
        what: &str,
        ask: impl FnOnce(&Ear<'_>) -> Result<T, HubError>,
    ) -> Result<T, Setback> {
        let judge = |signal: &_| self.is_useless(signal, claim, &hand.record);
        let ear = Ear::to_signals(&self.interrupt, &self.signals, &judge);
        ask(&ear).map_err(|error| match error {
            error if error.is_cut() && self.interrupt.is_closed() => Setback::Stopped,
            error if error.is_cut() => Setback::Useless,
            error => Setback::Failed(Failure::new(format!("{what}: {error}"), Counted::No, Blame::Host)),
        })
    }

    fn guest(
        &self,
        claim: &Claim,
        hand: &mut InHand,
        name: &'static str,
        line: &str,
        input: Option<&Secret>,
        limit: std::time::Duration,
    ) -> Result<(), Setback> {
        let run = GuestRun { name, line, input, limit, n_kept_bytes: SCRIPT_OUTPUT_BYTES };
        let answer = self.try_step(claim, hand, |ear| self.vms.run(&hand.record.vm, &run, ear));
        let output = match &answer {
            Ok(output) => output.0.clone(),
            Err(VmError::Guest { output, .. }) => output.clone(),
            Err(_) => String::new(),
        };
        hand.traces.scripts.push((name, output));
        answer.map(drop).map_err(|error| self.vm_setback(&error, Counted::Yes))
    }

    /// Runs one command of the VM host; cut when the process stops or the job needs no VM any more.
    pub(crate) fn step<T>(
        &self,
        claim: &Claim,
        hand: &InHand,
        counted: Counted,
        command: impl FnOnce(&Ear<'_>) -> Result<T, VmError>,
    ) -> Result<T, Setback> {
        self.try_step(claim, hand, command).map_err(|error| self.vm_setback(&error, counted))
    }

    /// The same for a caller that reads the error itself.
    pub(crate) fn try_step<T>(
        &self,
        claim: &Claim,
        hand: &InHand,
        command: impl FnOnce(&Ear<'_>) -> Result<T, VmError>,
    ) -> Result<T, VmError> {
        let judge = |signal: &_| self.is_useless(signal, claim, &hand.record);
        let ear = Ear::to_signals(&self.interrupt, &self.signals, &judge);
        command(&ear)
    }

    pub(crate) fn vm_setback(&self, error: &VmError, counted: Counted) -> Setback {
        vm_setback(error, counted, self.interrupt.is_closed())
    }
}

pub(crate) fn ledger_setback(error: &HostError) -> Setback {
    Setback::Failed(Failure::new(error.to_string(), Counted::No, Blame::Host))
}

/// The line that installs the runner: the archives' facts go in as the script's environment.
fn install_line(archives: Option<&Archives>) -> String {
    let mut line = String::new();
    if let Some(archives) = archives {
        line = format!("ANKLET_RUNNER_VERSION={} ", quoted(&archives.version));
        for download in &archives.macos {
            let processor = match download.architecture.as_str() {
                "arm64" => "ARM64",
                "x64" => "X64",
                _ => continue,
            };
            line += &format!("ANKLET_RUNNER_URL_{processor}={} ", quoted(&download.url));
            let sha256 = download.sha256.as_deref().unwrap_or_default();
            line += &format!("ANKLET_RUNNER_SHA256_{processor}={} ", quoted(sha256));
        }
    }
    line + "./install-runner.bash"
}

/// The version that the install script says it has replaced.
fn replaced_runner(output: &str) -> Option<&str> {
    let said = output.lines().find_map(|line| line.trim().split_once(" from the template is replaced by "));
    said.and_then(|(found, _)| found.strip_prefix("runner "))
}

/// The line that registers the runner. The token comes in by standard input, so that no argument list of the host holds it.
fn register_line(vm: &VmName, url: &str, labels: &[String], group: Option<&str>) -> String {
    // config.sh takes a value that begins with a dash for an option; the order of labels means nothing to GitHub.
    let (dashed, plain): (Vec<&str>, Vec<&str>) =
        labels.iter().map(String::as_str).partition(|label| label.starts_with('-'));
    let labels = [plain, dashed].concat().join(",");
    let mut line = format!(
        "IFS= read -r token && ./register-runner.bash {} \"$token\" {} {}",
        quoted(vm.as_str()),
        quoted(url),
        quoted(&labels)
    );
    if let Some(group) = group {
        line.push(' ');
        line.push_str(&quoted(group));
    }
    line
}
