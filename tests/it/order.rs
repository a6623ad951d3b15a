//! No response byte before the sync that covers its entry, as the system calls tell it.
//!
//! Goal: the order of sync and answer, seen from outside the process. Method: `strace` follows every thread; a socket is known by
//! its two addresses, a segment by its path. A system call begins at the line that shows it first and ends at the line that shows
//! its result; the kernel stops the thread at both, so the order of lines is the order of causes. Which bytes of a segment an
//! entry lies in is read from the file afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::asks::{NAME, NUMBER, insurance_claim};
use super::durability::without_limits;
use super::harness::{Deployment, Gateway, Partner, block_on};

/// System calls that move bytes between the process and its sockets or segments.
const FOLLOWED: &str = "trace=pwrite64,fdatasync,sendto,sendmsg,write,writev,recvfrom,recvmsg,read,readv";
/// A response has more bytes than this, TLS included; acknowledgements of HTTP/2 have fewer.
const ANSWER_BYTES_MIN: i64 = 150;

#[test]
fn a_lone_answer_leaves_after_its_sync() {
    let (trace, answers) = traced(1, 6);
    judge(&trace, &answers);
}

#[test]
fn of_a_crowd_every_answer_leaves_after_its_sync() {
    let (trace, answers) = traced(8, 12);
    judge(&trace, &answers);
}

/// The judge itself must be able to say no.
#[test]
fn an_answer_before_its_sync_would_be_seen() {
    let socket = "9<TCP:[127.0.0.1:4000->127.0.0.1:5000]>";
    let segment = "7</log/00000000000000000000.seg>";
    let good = [
        format!("1 recvfrom({socket},  <unfinished ...>"),
        "1 <... recvfrom resumed>\"\"..., 4096, 0, NULL, NULL) = 300".to_owned(),
        format!("2 pwrite64({segment}, \"\"..., 100, 128) = 100"),
        format!("2 fdatasync({segment} <unfinished ...>"),
        "2 <... fdatasync resumed>) = 0".to_owned(),
        format!("1 sendto({socket}, \"\"..., 400, MSG_NOSIGNAL, NULL, 0) = 400"),
    ];
    let ends = BTreeMap::from([(0, 228)]);
    let judged = |lines: &[String]| judge_lines(&lines.join("\n"), &ends, &[vec![0]]);
    assert_eq!(judged(&good), Vec::<String>::new());
    let early = [0, 1, 2, 3, 5, 4].map(|at| good[at].clone());
    assert_eq!(judged(&early).len(), 1, "sent while the sync was under way");
    let unsynced = [0, 1, 2, 5].map(|at| good[at].clone());
    assert_eq!(judged(&unsynced).len(), 1, "never synced");
    let failed =
        good.clone().map(|line| line.replace("resumed>) = 0", "resumed>) = -1 EIO (Input/output error)"));
    assert_eq!(judged(&failed).len(), 1, "a failed sync covers nothing");
    let elsewhere = good.clone().map(|line| line.replace("100, 128", "50, 128"));
    assert_eq!(judged(&elsewhere).len(), 1, "its bytes were not written before the sync");
    assert_eq!(judged(&good[..5]).len(), 1, "an answer that the trace does not show");
}

/// What strace told, and the log's folder.
struct Trace {
    text: String,
    segments: PathBuf,
    _deployment: Deployment,
}

/// Asks over so many connections at once, each one question after the other; returns the trace and, per connection in the order of
/// opening, which entries its answers were.
fn traced(connections: usize, questions: usize) -> (Trace, Vec<Vec<u64>>) {
    let deployment = Deployment::new();
    without_limits(&deployment);
    let gateway = deployment.serve();
    let file = deployment.everything().join("strace");
    let (answers, origin) = block_on(async {
        // Whatever happens once has happened.
        ask(gateway.partner("insurer-demo").await, 1).await;
        let strace = Strace::follow(&gateway, &file);
        let mut partners = Vec::new();
        for _ in 0..connections {
            let partner = gateway.partner("insurer-demo").await;
            // The first question meets HTTP/2's own greetings, which are acknowledged at once and are no answer: from the second
            // on, not one byte may leave between a question and its sync.
            ask(partner.clone(), 1).await;
            partners.push(partner);
        }
        let asking: Vec<_> =
            partners.iter().map(|partner| tokio::spawn(ask(partner.clone(), questions))).collect();
        let mut answers = Vec::new();
        let mut origin = String::new();
        for asked in asking {
            let (indices, log) = asked.await.expect("the questions were asked");
            answers.push(indices);
            origin = log;
        }
        // Connections stay open until nobody looks any more: their farewells are no answers.
        strace.end();
        drop(partners);
        (answers, origin)
    });
    assert!(gateway.stop());
    let text = fs::read_to_string(&file).expect("strace wrote");
    let segments = deployment.folder().join("data/log").join(origin);
    (Trace { text, segments, _deployment: deployment }, answers)
}

async fn ask(mut partner: Partner, questions: usize) -> (Vec<u64>, String) {
    let (mut indices, mut origin) = (Vec::new(), String::new());
    let question = insurance_claim(NUMBER, NAME);
    for _ in 0..questions {
        let answer = partner.verify(question.clone()).await.expect("an answer").into_inner();
        let evidence = answer.evidence.expect("it says where");
        indices.push(evidence.entry_index);
        origin = evidence.log_origin;
    }
    (indices, origin)
}

struct Strace(Child);

impl Strace {
    /// Follows every thread of the gateway from now on.
    fn follow(gateway: &Gateway<'_>, into: &Path) -> Self {
        let process = gateway.process().as_raw_nonzero().to_string();
        let mut strace = Command::new("strace")
            .args(["-f", "-yy", "-s", "0", "-e", FOLLOWED, "-o"])
            .arg(into)
            .args(["-p", &process])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: `tests/run prepare` does it (Debian package strace)");
        let said = strace.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        assert!(
            first.contains("attached"),
            "strace must be allowed to follow a process (root, CAP_SYS_PTRACE): {first}"
        );
        std::thread::spawn(move || lines.for_each(drop));
        Self(strace)
    }

    fn end(mut self) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::INT,
        )
        .expect("it is running");
        self.0.wait().expect("it ended");
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn judge(trace: &Trace, answers: &[Vec<u64>]) {
    let wrong = judge_lines(&trace.text, &ends_of(&trace.segments), answers);
    assert_eq!(wrong, Vec::<String>::new(), "of {} answers", answers.iter().map(Vec::len).sum::<usize>());
}

/// Returns where in its segment each entry ends. All of them lie in the first one.
fn ends_of(segments: &Path) -> BTreeMap<u64, u64> {
    let bytes = fs::read(segments.join("00000000000000000000.seg")).expect("the segment can be read");
    let (mut ends, mut offset) = (BTreeMap::new(), 128);
    for index in 0.. {
        let Some(length) = bytes.get(offset..offset + 4) else { break };
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        if length == 0 {
            break;
        }
        offset += 8 + length;
        ends.insert(index, offset as u64);
    }
    ends
}

/// A system call, from the line where it begins to the line where it ends.
#[derive(Debug)]
struct Call {
    name: String,
    /// The file or socket, as `-yy` names it.
    on: String,
    arguments: String,
    result: i64,
    begins: usize,
    ends: usize,
}

/// Lists what is wrong with the order of a trace.
fn judge_lines(text: &str, ends: &BTreeMap<u64, u64>, answers: &[Vec<u64>]) -> Vec<String> {
    let calls = calls_of(text);
    let mut wrong = Vec::new();
    let peers = answers_sent(&calls);
    if peers.len() != answers.len() {
        wrong.push(format!("{} connections were seen, {} were opened", peers.len(), answers.len()));
    }
    for (sent, indices) in peers.iter().zip(answers) {
        // The handshake's bytes come first: the last ones are the answers.
        let Some(first) = sent.len().checked_sub(indices.len()) else {
            wrong.push(format!("{} answers were seen, {} arrived", sent.len(), indices.len()));
            continue;
        };
        for (index, Sent { asked, begins }) in indices.iter().zip(&sent[first..]) {
            match covered_at(&calls, ends.get(index).copied()) {
                None => wrong.push(format!("entry {index}: no sync covers it")),
                Some(synced) if synced > *begins => {
                    wrong.push(format!(
                        "entry {index}: line {begins} sends before line {synced} ends the sync"
                    ));
                }
                Some(synced) if synced < *asked => {
                    wrong.push(format!(
                        "entry {index}: synced at line {synced}, but asked for at {asked}: wrong pairing"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

/// Bytes that left one after the other, with nothing received in between.
struct Sent {
    /// Where the question they answer began to be received.
    asked: usize,
    /// Where the first of them was handed to the kernel.
    begins: usize,
}

/// Returns, per connection in the order of their first bytes, what was sent and is as large as an answer.
fn answers_sent(calls: &[Call]) -> Vec<Vec<Sent>> {
    let mut order: Vec<&str> = Vec::new();
    let mut sockets: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.on.starts_with("TCP:[") && call.on.contains("->")) {
        if call.result > 0 {
            let socket = sockets.entry(&call.on).or_default();
            if socket.is_empty() {
                order.push(&call.on);
            }
            socket.push(call);
        }
    }
    order.into_iter().map(|socket| groups_of(&sockets[socket])).collect()
}

fn groups_of(calls: &[&Call]) -> Vec<Sent> {
    let (mut groups, mut asked, mut sending): (Vec<(Sent, i64)>, usize, bool) = (Vec::new(), 0, false);
    for call in calls {
        if !["sendto", "sendmsg", "write", "writev"].contains(&call.name.as_str()) {
            if sending || groups.is_empty() {
                asked = call.begins;
            }
            sending = false;
        } else if let (true, Some((_, bytes))) = (sending, groups.last_mut()) {
            *bytes += call.result;
        } else {
            groups.push((Sent { asked, begins: call.begins }, call.result));
            sending = true;
        }
    }
    groups.retain(|(_, bytes)| *bytes >= ANSWER_BYTES_MIN);
    groups.into_iter().map(|(sent, _)| sent).collect()
}

/// Returns the line at which the sync ended that covers a segment up to this byte: one that began after the write ended.
fn covered_at(calls: &[Call], end: Option<u64>) -> Option<usize> {
    let end = end?;
    let holds = |call: &&Call| {
        let mut numbers =
            call.arguments.rsplit(',').map(|word| word.trim().trim_end_matches(')').parse().unwrap_or(0));
        let (offset, length): (u64, u64) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        call.name == "pwrite64" && offset < end && end <= offset + length
    };
    let writes = calls.iter().filter(holds).filter(|call| call.result > 0);
    let synced = writes.filter_map(|write| {
        let covers = |call: &&Call| {
            call.name == "fdatasync" && call.on == write.on && call.result == 0 && call.begins > write.ends
        };
        calls.iter().filter(covers).map(|call| call.ends).min()
    });
    synced.min()
}

fn calls_of(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: BTreeMap<&str, Call> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let (Some(mut call), Some(result)) = (unfinished.remove(thread), result_of(resumed)) {
                (call.result, call.ends) = (result, number);
                calls.push(call);
            }
            continue;
        }
        let Some(mut call) = begun(rest, number) else { continue };
        if rest.ends_with("<unfinished ...>") {
            unfinished.insert(thread, call);
        } else if let Some(result) = result_of(rest) {
            call.result = result;
            calls.push(call);
        }
    }
    calls.sort_by_key(|call| call.begins);
    calls
}

/// Reads the beginning of a call: `name(fd<what>, …`.
fn begun(line: &str, number: usize) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (_, rest) = rest.split_once('<')?;
    // A socket's name holds an arrow, and ends with `]>`.
    let close = if rest.starts_with("TCP") || rest.starts_with("UNIX") {
        rest.find("]>")? + 1
    } else {
        rest.find('>')?
    };
    let (on, arguments) = rest.split_at(close);
    let arguments = arguments.rsplit_once(" = ").map_or(arguments, |(arguments, _)| arguments);
    let arguments = arguments.trim_end_matches("<unfinished ...>").trim_end();
    Some(Call {
        name: name.to_owned(),
        on: on.to_owned(),
        arguments: arguments.to_owned(),
        result: -1,
        begins: number,
        ends: number,
    })
}

fn result_of(line: &str) -> Option<i64> {
    let (_, result) = line.rsplit_once(" = ")?;
    result.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_trace_is_read_as_strace_writes_it() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "7  pwrite64(9</a/b.seg>, \"\"..., 188, 316) = 188\n7  +++ exited with 0 +++\n")
        .expect("written");
    let lines: Vec<_> =
        BufReader::new(File::open(file.path()).expect("there")).lines().map_while(Result::ok).collect();
    let calls = calls_of(&lines.join("\n"));
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].on.as_str(), calls[0].result), ("/a/b.seg", 188));
    assert_eq!(covered_at(&calls, Some(400)), None, "written, not synced");
}
