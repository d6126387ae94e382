//! Anklet: runs GitHub Actions jobs in ephemeral macOS VMs on your own Macs.

mod anka;
mod config;
mod crew;
mod daemon;
mod host;
mod metrics;
mod registry;
mod services;
mod signals;
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = config::env::Environment::of_this_process();
    let file = std::env::args().skip_while(|arg| arg != "-c").nth(1);
    env_logger::Builder::new().filter_level(log::LevelFilter::Debug).target(env_logger::Target::Stdout).format(|buf, record| {
        use std::io::Write;
        struct V(serde_json::Map<String, serde_json::Value>);
        impl<'a> log::kv::VisitSource<'a> for V { fn visit_pair(&mut self, k: log::kv::Key<'a>, v: log::kv::Value<'a>) -> Result<(), log::kv::Error> { self.0.insert(k.to_string(), v.to_string().into()); Ok(()) } }
        let mut v = V(serde_json::Map::new());
        v.0.insert("msg".into(), record.args().to_string().into());
        v.0.insert("level".into(), record.level().to_string().into());
        v.0.insert("t".into(), anklet_plugin_api::time::Moment::now().to_string().into());
        v.0.insert("th".into(), std::thread::current().name().unwrap_or("").into());
        let _ = record.key_values().visit(&mut v);
        writeln!(buf, "{}", serde_json::Value::Object(v.0))
    }).init();
    match config::load(file.as_deref().map(std::path::Path::new), &environment) {
        Ok(config) => daemon::run(config, &environment),
        Err(error) => {
            log::error!("unable to load config.yml: {error}");
            ExitCode::FAILURE
        }
    }
}
