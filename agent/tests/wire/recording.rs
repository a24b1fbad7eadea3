//! Recorded exchanges: one write to a line, `>` from the client, `<` from the server, the time in
//! milliseconds, and the bytes as a JSON string whose characters are bytes, or `FIN`, or `RST`.

use std::path::{Path, PathBuf};

use inferscope::model::request::Request;
use inferscope::model::workload::WorkloadId;
use inferscope::wire::meter::Link;
use inferscope::wire::{Assembler, Direction, Limits, Meter, Segment};
use inferscope_common::flow::{Endpoints, Role};

/// When every recording begins, in nanoseconds.
pub(crate) const START: u64 = 1_000_000_000;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Write {
    Bytes(Vec<u8>),
    Fin,
    Rst,
}

#[derive(Clone)]
pub(crate) struct Timed {
    pub(crate) from_client: bool,
    pub(crate) time: u64,
    pub(crate) what: Write,
}

impl Timed {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.what {
            Write::Bytes(bytes) => bytes,
            Write::Fin | Write::Rst => &[],
        }
    }

    pub(crate) fn direction(&self, role: Role) -> Direction {
        if self.from_client == (role == Role::Server) { Direction::In } else { Direction::Out }
    }
}

#[derive(Clone)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) writes: Vec<Timed>,
}

pub(crate) fn all() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/http");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        Recording::parse(&name, &std::fs::read_to_string(path).unwrap())
    };
    paths.iter().filter(|path| path.extension().is_some_and(|end| end == "http")).map(read).collect()
}

impl Recording {
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let (about, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let about = about.iter().map(|line| line.trim_start_matches(['#', ' '])).collect::<Vec<_>>().join("\n");
        let writes = lines.iter().map(|line| Self::line(line).unwrap_or_else(|| panic!("{name}: {line}"))).collect();
        Self { name: name.to_owned(), about, writes }
    }

    fn line(line: &str) -> Option<Timed> {
        let mut words = line.splitn(3, ' ');
        let from_client = match words.next()? {
            ">" => true,
            "<" => false,
            _ => return None,
        };
        let millis: f64 = words.next()?.parse().ok()?;
        let what = match words.next()? {
            "FIN" => Write::Fin,
            "RST" => Write::Rst,
            text => {
                let text: String = serde_json::from_str(text).ok()?;
                Write::Bytes(text.chars().map(|c| u8::try_from(c).unwrap()).collect())
            }
        };
        Some(Timed { from_client, time: START + (millis * 1e6).round() as u64, what })
    }

    /// The same with one write in two parts.
    pub(crate) fn cut(&self, index: usize, at: usize) -> Self {
        let mut cut = self.clone();
        let (first, second) = self.writes[index].bytes().split_at(at);
        cut.writes[index].what = Write::Bytes(first.to_vec());
        cut.writes.insert(index + 1, Timed { what: Write::Bytes(second.to_vec()), ..self.writes[index].clone() });
        cut
    }

    /// The same with every write in parts of a random length, `longest` bytes at most.
    pub(crate) fn shred(&self, seed: u64, longest: usize) -> Self {
        let mut state = seed | 1;
        let mut shred = Self { writes: Vec::new(), ..self.clone() };
        for write in &self.writes {
            let mut rest = write.bytes();
            if rest.is_empty() {
                shred.writes.push(write.clone());
            }
            while !rest.is_empty() {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                // A response whose request was not seen is known by its first bytes only.
                let shortest = if shred.writes.is_empty() { 7 } else { 1 };
                let (part, more) = rest.split_at(((state >> 33) as usize % longest + shortest).min(rest.len()));
                shred.writes.push(Timed { what: Write::Bytes(part.to_vec()), ..write.clone() });
                rest = more;
            }
        }
        shred
    }

    pub(crate) fn play(&self, role: Role) -> Vec<Request> {
        self.play_with(role, false)
    }

    /// Each write comes twice, the second time together with what came before it.
    pub(crate) fn play_repeating(&self, role: Role) -> Vec<Request> {
        self.play_with(role, true)
    }

    fn play_with(&self, role: Role, repeating: bool) -> Vec<Request> {
        let mut assembler = Assembler::new(Limits::default());
        assembler.bind(3, WorkloadId(1));
        let (mut meter, mut requests) = (Meter::default(), Vec::new());
        let link = Link { slot: 3, role, endpoints: Endpoints { local_port: 8000, ..Endpoints::default() } };
        meter.open(7, 0, link);
        let mut passed = [Vec::new(), Vec::new()];
        for write in &self.writes {
            let direction = write.direction(role);
            let mut say = |header: &_, record: inferscope::wire::meter::Record<'_>| {
                requests.extend(assembler.take(header, record));
            };
            if write.bytes().is_empty() {
                meter.close((7, 0), direction, write.what == Write::Rst, write.time, &mut say);
                continue;
            }
            let before = &mut passed[usize::from(write.from_client)];
            let offset = before.len() as u64;
            before.extend_from_slice(write.bytes());
            let segment =
                Segment { connection: 7, stream: 0, direction, offset, time: write.time, bytes: write.bytes() };
            meter.feed(&segment, &mut say);
            if repeating {
                let from = before.len().saturating_sub(write.bytes().len() + 9);
                meter.feed(&Segment { offset: from as u64, bytes: &before[from..], ..segment }, &mut say);
            }
        }
        assert_eq!(assembler.losses(), Default::default(), "{}", self.name);
        assert_eq!(assembler.open(), 0, "{}", self.name);
        requests
    }
}

/// What a request states, for people to check: times in milliseconds from the recording's start.
pub(crate) fn facts(request: &Request) -> String {
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let at = |instant: Option<u64>| instant.map(|nanos| millis(nanos - START));
    let r = request;
    let f = &r.figures;
    format!(
        "{:?} {} {} {:?} {:?} provider={:?} status={} streamed={} {:?}\n  models {:?} -> {:?}, max_tokens {:?}, id {:?}, \
         finish {:?}, parent {}\n  started {:?} ended {:?} duration {:?} ttft {:?} tpot {:?}\n  tokens {:?} -> {:?} by \
         {:?}, events {}, bytes {} -> {}, flags {:#x}",
        r.role,
        r.method,
        r.version.unwrap_or("-"),
        r.route,
        r.operation,
        r.provider,
        r.status,
        r.streamed,
        r.outcome,
        r.request_model,
        r.response_model,
        r.max_tokens,
        r.response_id,
        r.finish,
        r.parent.is_some(),
        at(r.started),
        at(Some(r.ended)),
        r.duration.map(millis),
        r.time_to_first_token.map(millis),
        r.time_per_output_token.map(millis),
        r.input_tokens,
        r.output_tokens,
        r.token_source,
        f.events,
        f.request_bytes,
        f.response_bytes,
        f.flags,
    )
}
