//! Under load: very many connections, and a disk that is full.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use fake_github::sign;

use crate::http::{deliver, of_process, queued, rest, send, webhook};
use crate::queue;
use crate::support::{Anklet, LIMIT, SECRET, World, bare};

const N_CROWD: usize = 1_500;

/// Half of the crowd says nothing; the other half sends a byte a second of a request that never ends. Whoever is pushed out comes
/// again.
fn crowd_in(port: u16, stop: &AtomicBool) {
    let text = b"POST /jobs/v1/receiver HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut crowd = Vec::new();
    for n_stream in 0..N_CROWD {
        crowd.push(connect());
        // A burst at a time: this is about many connections, not about how fast the loopback makes them.
        if n_stream % 50 == 0 {
            rest(Duration::from_millis(10));
        }
    }
    for byte in text.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for stream in crowd.iter_mut().step_by(2) {
            match stream.write(&[*byte]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => *stream = connect(),
                Ok(_) | Err(_) => {}
            }
        }
        rest(Duration::from_secs(1));
    }
}

#[test]
fn a_webhook_is_answered_within_a_second_beside_1500_idle_and_slow_connections() {
    let world = World::new();
    rustix::process::setrlimit(rustix::process::Resource::Nofile, {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        rustix::process::Rlimit { current: limit.maximum, ..limit }
    })
    .unwrap();
    let anklet = world.start(&world.config(2));
    let n_threads_before = of_process(anklet.pid(), "Threads");
    let stop = AtomicBool::new(false);
    let (mut slowest, mut most_memory, mut most_threads) = (Duration::ZERO, 0, 0);
    let (mut n_sent, mut n_stored) = (0, 0);
    std::thread::scope(|scope| {
        let crowd = Builder::new().name("crowd".to_owned());
        let crowd = crowd.spawn_scoped(scope, || crowd_in(world.port, &stop)).unwrap();
        let ends_at = Instant::now() + Duration::from_secs(6);
        while Instant::now() < ends_at {
            let sent_at = Instant::now();
            n_sent += 1;
            // Jobs of a repository that the handlers do not serve.
            let (status, answer) = deliver(world.port, &queued(1_000_000 + n_sent, "other"));
            match status {
                200 => {
                    n_stored += 1;
                    slowest = slowest.max(sent_at.elapsed());
                }
                // Pushed out before its first word, as we may rest between connecting and that.
                0 => {}
                _ => panic!("{answer}"),
            }
            most_memory = most_memory.max(of_process(anklet.pid(), "VmRSS"));
            most_threads = most_threads.max(of_process(anklet.pid(), "Threads"));
        }
        stop.store(true, Ordering::Relaxed);
        crowd.join().unwrap();
    });
    println!(
        "{n_stored} of {n_sent} stored, the slowest in {slowest:?}; {most_memory} KiB, {most_threads} threads"
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(n_stored > 20 && n_stored * 20 >= n_sent * 19, "{n_stored} of {n_sent}");
    assert!(most_memory < 40 << 10, "{most_memory} KiB");
    assert!(most_threads <= n_threads_before + 4, "{n_threads_before}, then {most_threads} threads");
    assert_eq!(queue::jobs(&world).len() as u64, n_stored, "stored is what was answered with 200");

    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    anklet.stop();
}

/// Signed bodies of 25 MiB, with their bulk in places where it could become many times as much: they cost little more than themselves.
#[test]
fn the_largest_bodies_cost_little_more_than_themselves() {
    const MOST_BYTES: usize = 25 << 20;
    let world = World::new();
    // An unoptimized build on a busy machine may need long for each.
    let anklet =
        world.start(&world.config(1).replace("limits: {", "limits: {store_answer: 60, request: 60, "));
    assert_eq!(deliver(world.port, &queued(1, "app")).0, 200);
    let n_before = of_process(anklet.pid(), "VmHWM");
    let small = queued(2, "app").to_string();
    let places = [
        ("\"workflow_job\":{", "\"workflow_job\":{\"steps\":[BULK],", "{\"a\":1}"),
        ("\"workflow_job\":{", "\"workflow_job\":{\"steps\":[BULK],", "1"),
        ("\"workflow_job\":{", "\"workflow_job\":{\"conclusion\":[BULK],\"created_at\":[BULK],", "[]"),
        ("\"repository\":{", "\"organization\":[BULK],\"repository\":{", "{\"a\":[\"x\"]}"),
    ];
    for (place, filled, unit) in places {
        let n_bulks = filled.matches("BULK").count();
        let n_units = (MOST_BYTES - 2 * small.len()) / n_bulks / (unit.len() + 1);
        let bulk = vec![unit; n_units].join(",");
        let body = small.replacen(place, &filled.replace("BULK", &bulk), 1);
        assert!(body.len() <= MOST_BYTES && body.len() > MOST_BYTES - (1 << 20), "{}", body.len());
        let signature = sign(SECRET, body.as_bytes());
        let (status, answer) =
            send(world.port, &webhook("workflow_job", body.as_bytes(), Some(&signature), "large"));
        assert_eq!(status, 200, "{answer}");
    }
    let labels = format!("\"labels\":[{}\"\"]", "\"\",".repeat(8 << 20));
    let body = small.replacen("\"labels\":[", &format!("{labels},\"x\":["), 1);
    let signature = sign(SECRET, body.as_bytes());
    let (status, answer) =
        send(world.port, &webhook("workflow_job", body.as_bytes(), Some(&signature), "large"));
    assert!(status == 400 && answer.contains("labels"), "{status} {answer}");
    let n_grown_mib = of_process(anklet.pid(), "VmHWM").saturating_sub(n_before) >> 10;
    println!("five bodies of 25 MiB: the peak grew by {n_grown_mib} MiB");
    assert!(n_grown_mib < 60, "the peak grew by {n_grown_mib} MiB");
    anklet.stop();
}

/// Delivers jobs until one is refused; how many were stored before.
fn fill(world: &World, first: u64) -> u64 {
    for n in 0..20_000 {
        let (status, answer) = deliver(world.port, &queued(first + n, "other"));
        if status != 200 {
            assert_eq!(status, 503, "{answer}");
            assert!(answer.contains("Retry-After:"), "{answer}");
            return n;
        }
    }
    panic!("the disk never filled up");
}

/// What must hold while nothing can be written and once it can again; `make_room` is called in between.
fn run_out_of_room(world: &World, anklet: Anklet, make_room: impl FnOnce(&Anklet)) {
    // A job is on its way when the room ends: its steps cannot be saved, and it waits.
    let job = world.github.create_job(world.job().steps_ms(300));
    anklet.wait_message("job found registered runner and is now in progress");
    let n_stored = fill(world, 1_000_000);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("unable to access database");
    let waiting = world.github.create_job(world.job());
    anklet.wait_for("the refused webhook", || {
        let deliveries = world.github.deliveries();
        deliveries.iter().any(|one| one.job_id == Some(waiting) && one.status_code == 503)
    });
    make_room(&anklet);

    anklet.wait_for("a stored webhook", || deliver(world.port, &queued(2_000_000, "other")).0 == 200);
    for refused in world.github.deliveries().iter().filter(|one| !one.is_ok()) {
        world.github.redeliver(refused.id);
    }
    assert_eq!(world.github.wait_completed(waiting, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    anklet.wait_for("the end of both jobs", || queue::jobs(world).len() as u64 == n_stored + 1);
    for id in (1_000_000..1_000_000 + n_stored).step_by(97).chain([1_000_000 + n_stored - 1]) {
        assert_eq!(queue::spot(world, id).as_deref(), Some("queued"), "{id} was answered with 200");
    }
    anklet.stop();
}

/// Files may not grow: every write of the queue fails, as on a full disk, until the limit is lifted from outside.
#[test]
fn without_room_for_the_queue_webhooks_are_refused_and_nothing_is_lost() {
    let world = World::new();
    let mut command = bare("/bin/sh");
    // The signal that comes with the limit is ignored, so that writing fails as it does without room.
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 2048; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_anklet")]);
    let anklet = world.start_with(&world.config(1), command);
    run_out_of_room(&world, anklet, |anklet| {
        let lifted =
            Command::new("prlimit").args(["--pid", &anklet.pid().to_string(), "--fsize=unlimited"]).status();
        assert!(lifted.unwrap().success());
    });
}

/// The same on a file system that is really full. Mounting one needs root.
#[test]
#[ignore = "long: see tests/long"]
fn on_a_full_file_system_webhooks_are_refused_and_nothing_is_lost() {
    let world = World::new();
    let folder = Small::mount(world.home.path().join("small"));
    let path = folder.0.join("anklet.db");
    std::os::unix::fs::symlink(&path, queue::path(&world)).unwrap();
    let config = format!("global_database_path: {}\n{}", path.display(), world.config(1));
    let anklet = world.start(&config);
    run_out_of_room(&world, anklet, |_| folder.grow());
}

/// A file system of 2 MiB, unmounted when the test ends.
struct Small(PathBuf);

impl Small {
    fn mount(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "anklet-test"])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(status.success(), "root is needed");
        Self(folder)
    }

    fn grow(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
