//! Plays `anka`, the tools inside its VMs, and the admin commands that arrange a fake host.
//!
//! Called `anka` (by a link of that name) it is the command line of a Mac with VMs, as far as this project uses it;
//! called `curl`, `uname` and the like it is a guest's tool. As `fake-anka admin …` it arranges the host in
//! `$HOME/.fake-anka` or `ANKA_FAKE_DIR`, and `fake-anka make-runner DIR VERSION` packs a runner. Everything lives in
//! the library, which tests use directly.

fn main() -> std::process::ExitCode {
    fake_anka::main()
}
