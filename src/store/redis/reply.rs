//! What verbs answer: names and texts in turn, read back into what the contract promises.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anklet_plugin_api::job::{Conclusion, Group, Job, JobId, Phase};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::sorted::sort_by;
use anklet_plugin_api::store::{
    Ahead, Claim, ClaimKey, Counts, Dossier, Ended, Entry, Leased, Notice, Place, Survey, Transition, Waiting,
};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::VmRecord;
use redis::Value;
use serde::de::DeserializeOwned;
use serde_json::Map;

/// How a verb ended on the server.
pub(super) enum Reply {
    Done(Value),
    Lost,
    /// A document could not be read and was set aside; the verb has done nothing else.
    Broken {
        what: String,
        why: String,
    },
    /// A document of a newer version makes no sense to us and stays where it is.
    Newer {
        what: String,
        version: u32,
    },
}

/// A document, or an answer, that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// `job` or `vm`, with its id, where it is a document.
    pub(super) document: Option<(&'static str, String)>,
    /// The version that the document bears.
    pub(super) version: u32,
    pub(super) why: String,
}

type Read<T> = Result<T, Unreadable>;

impl Reply {
    /// Also tells the newest version met on the way of documents that were left alone, else 0.
    pub(super) fn read(value: Value) -> Read<(Self, u32)> {
        let Value::Array(parts) = value else { return Err(nonsense("no list")) };
        let mut parts = parts.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let how = text(&next())?;
        let number = number::<u32>(&text(&next())?)?;
        let reply = match how.as_str() {
            "ok" => Self::Done(next()),
            "lost" => Self::Lost,
            "broken" => Self::Broken { what: text(&next())?, why: text(&next())? },
            "newer" => return Ok((Self::Newer { what: text(&next())?, version: number }, number)),
            other => return Err(nonsense(other)),
        };
        Ok((reply, number))
    }
}

/// Names and values.
pub(super) struct Fields(HashMap<String, Value>);

impl Fields {
    /// None for the empty text, which stands for nothing.
    pub(super) fn read(value: Value) -> Read<Option<Self>> {
        let Value::Array(list) = value else { return Ok(None) };
        let mut fields = HashMap::new();
        let mut list = list.into_iter();
        while let (Some(name), Some(value)) = (list.next(), list.next()) {
            fields.insert(text(&name)?, value);
        }
        Ok(Some(Self(fields)))
    }

    fn maybe(&self, name: &str) -> Read<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Nil) => Ok(None),
            Some(value) => text(value).map(Some),
        }
    }

    fn text(&self, name: &str) -> Read<String> {
        self.maybe(name)?.ok_or_else(|| nonsense(&format!("{name} is missing")))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Read<N> {
        number(&self.text(name)?)
    }

    fn list(&self, name: &str) -> &[Value] {
        match self.0.get(name) {
            Some(Value::Array(list)) => list,
            _ => &[],
        }
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Read<T> {
        from_json(self.0.get(name).unwrap_or(&Value::Nil))
    }

    /// Reads a job's fields; what cannot be read is blamed on the job's document.
    fn of_job<T>(&self, read: impl FnOnce(&Self) -> Read<T>) -> Read<T> {
        let id = self.text("id")?;
        let version = self.number("v")?;
        read(self).map_err(|unreadable| Unreadable { document: Some(("job", id)), version, ..unreadable })
    }

    fn phase(&self) -> Read<Phase> {
        let runner = self.maybe("runner")?;
        match self.text("phase")?.as_str() {
            "0" => Ok(Phase::Queued),
            "1" => Ok(Phase::InProgress { runner }),
            "2" => {
                let conclusion = self.maybe("concl")?.unwrap_or_default();
                Ok(Phase::Completed { conclusion: Conclusion::from(conclusion), runner })
            }
            other => Err(nonsense(&format!("phase {other}"))),
        }
    }

    pub(super) fn claim(&self) -> Read<Claim> {
        self.of_job(|fields| {
            let taken = match fields.maybe("taken")? {
                Some(_) => Some(fields.json("taken")?),
                None => None,
            };
            let tries: u32 = fields.number("tries")?;
            Ok(Claim {
                key: ClaimKey {
                    handler: PluginName::new(fields.text("handler")?),
                    fence: fields.number("fence")?,
                },
                job: fields.json("job")?,
                phase: fields.phase()?,
                attempts: tries.saturating_sub(1),
                host_failures: fields.number("failures")?,
                reasons: fields.list("reasons").iter().map(text).collect::<Read<_>>()?,
                resumed: fields.text("resumed")? == "1",
                taken,
            })
        })
    }

    pub(super) fn job(&self) -> Read<Job> {
        self.of_job(|fields| fields.json("job"))
    }

    pub(super) fn job_and_phase(&self) -> Read<(Job, Phase)> {
        self.of_job(|fields| Ok((fields.json("job")?, fields.phase()?)))
    }

    pub(super) fn entry(&self) -> Read<Entry> {
        self.of_job(|fields| {
            let place = match fields.text("spot")?.as_str() {
                "q" => Place::Queued,
                "h" => Place::Held { until: Moment(fields.number("due")?) },
                "r" => Place::Running,
                "c" => Place::Claimed {
                    handler: PluginName::new(fields.text("handler")?),
                    host: HostId::new(fields.text("host")?),
                    paused: fields.maybe("paused")?.is_some(),
                },
                other => return Err(nonsense(&format!("spot {other}"))),
            };
            Ok(Entry {
                job: fields.json("job")?,
                phase: fields.phase()?,
                place,
                attempts: fields.number("tries")?,
                history: fields.list("history").iter().map(transition).collect::<Read<_>>()?,
                vm: fields.maybe("vm")?.map(VmName::new),
                claimed_until: fields.maybe("until")?.map(|at| number(&at).map(Moment)).transpose()?,
                avoided_by: fields.avoids()?,
            })
        })
    }

    fn avoids(&self) -> Read<BTreeMap<HostId, Moment>> {
        let mut avoids = BTreeMap::new();
        for pair in self.list("avoids").chunks_exact(2) {
            avoids.insert(HostId::new(text(&pair[0])?), Moment(number(&text(&pair[1])?)?));
        }
        Ok(avoids)
    }

    fn group(base: &Value) -> Read<Group> {
        let (owner, repo, template, tag) = from_json(base)?;
        Ok(Group { owner, repo, template, tag })
    }

    pub(super) fn survey(&self) -> Read<Survey> {
        let mut survey = Survey {
            at: Moment(self.number("at")?),
            held: self.number("held")?,
            claimed: self.number("claimed")?,
            running: self.number("running")?,
            vms: self.number("vms")?,
            groups: BTreeMap::new(),
        };
        for line in self.list("groups").chunks_exact(3) {
            let (n_jobs, oldest_at) = (number::<u64>(&text(&line[1])?)?, Moment(number(&text(&line[2])?)?));
            let waiting =
                survey.groups.entry(Self::group(&line[0])?).or_insert(Waiting { n_jobs: 0, oldest_at });
            waiting.n_jobs += n_jobs;
            waiting.oldest_at = waiting.oldest_at.min(oldest_at);
        }
        Ok(survey)
    }

    pub(super) fn dossier(mut self) -> Read<Dossier> {
        let mut fields = |name: &str| Self::read(self.0.remove(name).unwrap_or_default());
        let entry = fields("entry")?.map(|fields| fields.entry()).transpose()?;
        // What cannot be read of a job that is gone is as if it had been forgotten.
        let last = fields("last")?.and_then(|fields| fields.entry().ok());
        let ended = self.maybe("ended")?.map(|run_attempt| number(&run_attempt)).transpose()?;
        let ahead = match self.list("ahead") {
            [in_group, in_queue] => {
                Some(Ahead { in_group: number(&text(in_group)?)?, in_queue: number(&text(in_queue)?)? })
            }
            _ => None,
        };
        let at = Moment(self.number("at")?);
        Ok(Dossier { at, entry, ahead, ended: ended.map(|run_attempt| Ended { run_attempt, last }) })
    }

    pub(super) fn counts(&self) -> Read<Counts> {
        let mut counts = Counts {
            held: self.number("held")?,
            claimed: self.number("claimed")?,
            running: self.number("running")?,
            vms: self.number("vms")?,
            ..Counts::default()
        };
        for pair in self.list("groups").chunks_exact(2) {
            let n_jobs: u64 = number(&text(&pair[1])?)?;
            counts.queued += n_jobs;
            *counts.groups.entry(Self::group(&pair[0])?).or_default() += n_jobs;
        }
        Ok(counts)
    }
}

/// A line of history: when, what, and by whom.
fn transition(value: &Value) -> Read<Transition> {
    let line: Vec<String> = from_json(value)?;
    let [at, what, by @ ..] = &line[..] else { return Err(nonsense("a line of history is too short")) };
    let by = match by {
        [handler, host, ..] => Some((PluginName::new(handler.as_str()), HostId::new(host.as_str()))),
        _ => None,
    };
    Ok(Transition { at: Moment(number(at)?), what: what.clone(), by })
}

/// The places in the list of claims asked about of those that are lost.
pub(super) fn places(value: &Value) -> Read<Vec<usize>> {
    let Value::Array(list) = value else { return Ok(Vec::new()) };
    list.iter()
        .map(|place| match place {
            Value::Int(place) => usize::try_from(*place).map_err(|_| nonsense("a place below zero")),
            other => Err(nonsense(&format!("{other:?}"))),
        })
        .collect()
}

/// The holder of each lease asked for, where that is somebody else.
pub(super) fn leased(value: &Value) -> Read<Vec<Leased>> {
    let Value::Array(list) = value else { return Ok(Vec::new()) };
    let read = |item: &Value| {
        let Value::Array(parts) = item else { return Ok(Leased::Ours) };
        let [host, process, left] = &parts[..] else { return Err(nonsense("half a lease")) };
        let left = Duration::from_millis(number(&text(left)?)?);
        Ok(Leased::Theirs { host: HostId::new(text(host)?), process: text(process)?, left })
    };
    list.iter().map(read).collect()
}

/// Each a job by its fields.
pub(super) fn jobs(value: Value) -> Read<Vec<Job>> {
    let Value::Array(list) = value else { return Ok(Vec::new()) };
    list.into_iter().map(|fields| Fields::read(fields)?.ok_or_else(|| nonsense("no fields"))?.job()).collect()
}

/// Each a job by its fields, with its history.
pub(super) fn entries(value: Value) -> Read<Vec<Entry>> {
    let Value::Array(list) = value else { return Ok(Vec::new()) };
    list.into_iter()
        .map(|fields| Fields::read(fields)?.ok_or_else(|| nonsense("no fields"))?.entry())
        .collect()
}

/// By key.
pub(super) fn notices(value: &Value) -> Read<Vec<Notice>> {
    let Value::Array(list) = value else { return Ok(Vec::new()) };
    let read = |item: &Value| {
        let Value::Array(parts) = item else { return Err(nonsense("no notice")) };
        let [key, what, since, until] = &parts[..] else { return Err(nonsense("half a notice")) };
        let (since, until) = (Moment(number(&text(since)?)?), Moment(number(&text(until)?)?));
        Ok(Notice { key: text(key)?, text: text(what)?, since, until })
    };
    let mut notices: Vec<_> = list.iter().map(read).collect::<Read<_>>()?;
    sort_by(&mut notices, |one, other| one.key.cmp(&other.key));
    Ok(notices)
}

/// A list of one text or none.
pub(super) fn maybe_text(value: &Value) -> Read<Option<String>> {
    match value {
        Value::Array(list) => list.first().map(text).transpose(),
        _ => Ok(None),
    }
}

/// The records of a host, by name; each as it can be read.
pub(super) fn records(value: Value) -> Read<BTreeMap<String, Read<VmRecord>>> {
    let Value::Array(list) = value else { return Ok(BTreeMap::new()) };
    let mut records = BTreeMap::new();
    for item in list {
        let Value::Array(pair) = item else { return Err(nonsense("no record")) };
        let mut pair = pair.into_iter();
        let name = text(&pair.next().unwrap_or_default())?;
        let fields = Fields::read(pair.next().unwrap_or_default())?;
        let record = fields.ok_or_else(|| nonsense("no fields")).and_then(|fields| record(&name, &fields));
        records.insert(name, record);
    }
    Ok(records)
}

/// The fields are those of the record, each as JSON; those with a `_` are Lua's.
fn record(name: &str, fields: &Fields) -> Read<VmRecord> {
    let version = fields.number("v").unwrap_or(0);
    let read = || {
        let mut map = Map::new();
        for (field, value) in fields.0.iter().filter(|(field, _)| !field.starts_with('_') && *field != "v") {
            map.insert(field.clone(), from_json(value)?);
        }
        serde_json::from_value(serde_json::Value::Object(map)).map_err(|error| nonsense(&error.to_string()))
    };
    read().map_err(|unreadable| Unreadable { document: Some(("vm", name.to_owned())), version, ..unreadable })
}

/// The place of a job in words.
pub(super) fn noted(value: &Value) -> Read<anklet_plugin_api::store::Noted> {
    use anklet_plugin_api::store::Noted;
    match text(value)?.as_str() {
        "enqueued" => Ok(Noted::Enqueued),
        "moved" => Ok(Noted::Moved),
        "known" => Ok(Noted::Known),
        "ended" => Ok(Noted::Ended),
        "not_ours" => Ok(Noted::NotOurs),
        other => Err(nonsense(other)),
    }
}

/// A number of ms; none for the empty text.
pub(super) fn maybe_millis(value: &Value) -> Read<Option<Duration>> {
    match text(value)?.as_str() {
        "" => Ok(None),
        millis => number(millis).map(|millis| Some(Duration::from_millis(millis))),
    }
}

pub(super) fn text(value: &Value) -> Read<String> {
    match value {
        Value::BulkString(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(nonsense(&error.to_string())),
        },
        Value::SimpleString(text) => Ok(text.clone()),
        other => Err(nonsense(&format!("{other:?}"))),
    }
}

pub(super) fn number<N: std::str::FromStr>(text: &str) -> Read<N> {
    text.parse().map_err(|_| nonsense(&format!("{text:?} is no number")))
}

fn from_json<T: DeserializeOwned>(value: &Value) -> Read<T> {
    serde_json::from_str(&text(value)?).map_err(|error| nonsense(&error.to_string()))
}

fn nonsense(why: &str) -> Unreadable {
    Unreadable { document: None, version: 0, why: why.to_owned() }
}

/// The id of a job in a message.
pub(super) fn job_id(text: &str) -> Option<JobId> {
    text.parse().ok().map(JobId)
}
