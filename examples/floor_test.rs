//! Whether the time of an unconfirmed answer tells why it is one: `scripts/floor-test` starts a gateway and runs this.
//!
//! ```text
//! floor_test --at ADDRESS --dir DEPLOYMENT --subjects DRIVERS.ndjson --requests 100000
//! ```
//!
//! Three classes of claims, which must not be told apart: a number nobody has, a number with another's name, a protected person. A clock
//! sends one request after the other, whatever is still under way, in an order drawn from a seed, so that neither load nor drift can
//! favour a class. Measured where a partner would: from before the request is sent until its answer has arrived. Welch's t between each two
//! classes; below 4.5 they are not told apart. Beside it: the sizes of the answers.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own: its clock and output are real"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use drivegate::domain::catalogue::test_drivers;
use drivegate::domain::time::civil_day;
use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::gateway::proto::verify_request::{Question, Subject};
use drivegate::gateway::proto::{
    Claim, DocumentKind, Ground, GroundKind, Reason, RentalQuestion, Vehicle, VehicleClass, VerifyRequest,
    VerifyResponse, vehicle,
};
use drivegate::identity::client::ClientTls;
use prost::Message as _;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Partner = VerificationServiceClient<Channel>;

const PARTNER: &str = "rental-demo";
/// From here on two classes are told apart (the bound of TVLA, ISO/IEC 17825).
const T_MAX: f64 = 4.5;
/// Different numbers of a class, where there are as many: answered cold at first, then warm.
const NUMBERS_MAX: usize = 100;
const CLASSES: [&str; 3] = ["no-such-number", "another-name", "protected"];
/// Requests before the measured ones, which open connections and fill caches.
const WARM_UP: usize = 300;
const NOBODY_S_NAME: &str = "测试无此名";

#[derive(Parser)]
struct Options {
    /// Where the gateway listens.
    #[arg(long)]
    at: SocketAddr,
    /// Its deployment folder.
    #[arg(long)]
    dir: PathBuf,
    /// Drivers in its registry, as `drivegate registry generate` writes them.
    #[arg(long)]
    subjects: PathBuf,
    /// Requests measured, over the three classes.
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
    /// Requests a second, by the clock: far below what the machine can, or queues are measured.
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Draws the order.
    #[arg(long)]
    seed: Option<u64>,
    /// What the figures are called.
    #[arg(long, default_value = "embedded")]
    store: String,
}

/// The measurements of a class.
#[derive(Clone, Default)]
struct Class {
    seconds: Vec<f64>,
    sizes: Vec<usize>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode, Fault> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(rand::random);
    eprintln!("--seed {seed} repeats the order");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let questions = questions(&options.subjects, &mut random)?;
    let partner = connect(options.at, &options.dir.join("pki")).await?;
    let mut order: Vec<usize> = (0..options.requests).map(|index| index % CLASSES.len()).collect();
    order.shuffle(&mut random);
    let mut all: Vec<usize> = (0..WARM_UP).map(|index| index % CLASSES.len()).collect();
    all.extend(order);
    let chosen: Vec<(usize, usize)> =
        all.into_iter().map(|class| (class, random.random_range(0..questions[class].len()))).collect();
    let classes = measure(&partner, &questions, &chosen, options.rate).await?;
    let (figures, told_apart) = judge(&options, seed, &classes);
    println!("{figures}");
    summarise(&classes, told_apart);
    Ok(if told_apart { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn connect(address: SocketAddr, pki: &Path) -> Result<Partner, Fault> {
    let (chain, key) = (pki.join(format!("{PARTNER}.pem")), pki.join(format!("{PARTNER}.key")));
    let tls = ClientTls::from_files(&pki.join("ca.pem"), Some((&chain, &key)))?;
    Ok(VerificationServiceClient::new(tls.connect(address, "localhost", Duration::from_secs(5)).await?))
}

/// Makes the questions of each class.
fn questions(subjects: &Path, random: &mut ChaCha8Rng) -> Result<[Vec<VerifyRequest>; 3], Fault> {
    let text = std::fs::read_to_string(subjects)?;
    let held = text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line.get("number")?.as_str().filter(|number| number.len() == 18).map(str::to_owned)
    });
    let mut held: Vec<String> = held.take(10_000).collect();
    held.sort_unstable();
    held.dedup();
    let nobody_s: Vec<String> = std::iter::repeat_with(|| unheld_number(random))
        .filter(|number| held.binary_search(number).is_err())
        .take(NUMBERS_MAX)
        .collect();
    held.truncate(NUMBERS_MAX);
    let today = civil_day(SystemTime::now().try_into()?);
    let protected: Vec<_> =
        test_drivers(today).into_iter().filter(|driver| driver.twin == "protected").collect();
    if held.is_empty() || protected.is_empty() {
        return Err("the registry needs generated drivers and the test drivers".into());
    }
    Ok([
        nobody_s.iter().map(|number| question(number, NOBODY_S_NAME)).collect(),
        held.iter().map(|number| question(number, NOBODY_S_NAME)).collect(),
        protected.iter().map(|driver| question(driver.number, driver.name)).collect(),
    ])
}

/// Draws a number of the form that only a sandbox accepts, with its check character (GB 11643).
fn unheld_number(random: &mut ChaCha8Rng) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let body = format!("00000019700101{:03}", random.random_range(0..1_000));
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = [b'1', b'0', b'X', b'9', b'8', b'7', b'6', b'5', b'4', b'3', b'2'][(sum % 11) as usize];
    format!("{body}{}", char::from(check))
}

/// One and the same question about everybody.
fn question(number: &str, name: &str) -> VerifyRequest {
    let tomorrow = SystemTime::now() + Duration::from_hours(24);
    VerifyRequest {
        subject: Some(Subject::Claim(Claim {
            document_kind: DocumentKind::ResidentId.into(),
            licence_number: number.to_owned(),
            full_name: name.to_owned(),
            ground: Some(Ground {
                kind: GroundKind::Contract.into(),
                subject_is_party: true,
                ..Ground::default()
            }),
            ..Claim::default()
        })),
        question: Some(Question::Rental(RentalQuestion {
            pick_up: Some(tomorrow.into()),
            r#return: Some((tomorrow + Duration::from_hours(72)).into()),
            vehicle: Some(Vehicle {
                kind: Some(vehicle::Kind::Class(VehicleClass::C1.into())),
                ..Vehicle::default()
            }),
            ..RentalQuestion::default()
        })),
        case_reference: "FLOOR-1".to_owned(),
        operator_id: "floor-test".to_owned(),
        ..VerifyRequest::default()
    }
}

/// Sends one request at each tick and waits for none before the next.
async fn measure(
    partner: &Partner,
    questions: &[Vec<VerifyRequest>; 3],
    chosen: &[(usize, usize)],
    rate: u32,
) -> Result<Vec<Class>, Fault> {
    let mut classes = vec![Class::default(); CLASSES.len()];
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    for (index, (class, which)) in chosen.iter().copied().enumerate() {
        ticks.tick().await;
        let (mut partner, question) = (partner.clone(), questions[class][which].clone());
        under_way.spawn(async move {
            let began = Instant::now();
            let answer = partner.verify(question).await;
            (index, class, began.elapsed(), answer)
        });
        while let Some(done) = under_way.try_join_next() {
            note(done?, &mut classes)?;
        }
    }
    while let Some(done) = under_way.join_next().await {
        note(done?, &mut classes)?;
    }
    Ok(classes)
}

type Done = (usize, usize, Duration, Result<tonic::Response<VerifyResponse>, tonic::Status>);

fn note((index, class, took, answer): Done, classes: &mut [Class]) -> Result<(), Fault> {
    let answer = answer?.into_inner();
    let reasons: Vec<_> = answer.criteria.iter().map(|one| one.reason()).collect();
    if reasons != [Reason::SubjectNotConfirmed] {
        return Err(format!("{} was answered with {reasons:?}", CLASSES[class]).into());
    }
    if index >= WARM_UP {
        classes[class].seconds.push(took.as_secs_f64());
        classes[class].sizes.push(answer.encoded_len());
    }
    Ok(())
}

/// Mean and variance of a sample.
#[allow(clippy::cast_precision_loss, reason = "counts of some hundred thousand")]
fn moments(seconds: &[f64]) -> (f64, f64) {
    let count = seconds.len() as f64;
    let mean = seconds.iter().sum::<f64>() / count;
    (mean, seconds.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

#[allow(clippy::cast_precision_loss, reason = "counts of some hundred thousand")]
fn welch(one: &Class, other: &Class) -> f64 {
    let ((mean, variance), (other_mean, other_variance)) = (moments(&one.seconds), moments(&other.seconds));
    let (count, other_count) = (one.seconds.len() as f64, other.seconds.len() as f64);
    (mean - other_mean) / (variance / count + other_variance / other_count).sqrt()
}

fn pairs(classes: &[Class]) -> Vec<(usize, usize, f64)> {
    let all = (0..classes.len()).flat_map(|one| (one + 1..classes.len()).map(move |other| (one, other)));
    all.map(|(one, other)| (one, other, welch(&classes[one], &classes[other]))).collect()
}

fn judge(options: &Options, seed: u64, classes: &[Class]) -> (Value, bool) {
    let pairs = pairs(classes);
    let told_apart = pairs.iter().any(|(.., t)| t.is_nan() || t.abs() >= T_MAX);
    let of_class = |(name, class): (&&str, &Class)| {
        let (mean, variance) = moments(&class.seconds);
        let (least, most) = (class.sizes.iter().min(), class.sizes.iter().max());
        json!({
            "class": name,
            "count": class.seconds.len(),
            "mean_us": mean * 1e6,
            "sd_us": variance.sqrt() * 1e6,
            "answer_bytes": [least, most],
        })
    };
    let figures = json!({
        "store": options.store,
        "requests": options.requests,
        "rate": options.rate,
        "seed": seed,
        "classes": CLASSES.iter().zip(classes).map(of_class).collect::<Vec<_>>(),
        "t": pairs
            .iter()
            .map(|(one, other, t)| json!({ "between": [CLASSES[*one], CLASSES[*other]], "t": t }))
            .collect::<Vec<_>>(),
        "t_max": T_MAX,
        "told_apart": told_apart,
    });
    (figures, told_apart)
}

fn summarise(classes: &[Class], told_apart: bool) {
    for (name, class) in CLASSES.iter().zip(classes) {
        let (mean, variance) = moments(&class.seconds);
        let (mean, sd) = (mean * 1e3, variance.sqrt() * 1e3);
        eprintln!("{name:<15} {:>7} answers, mean {mean:.4} ms, sd {sd:.4} ms", class.seconds.len());
    }
    for (one, other, t) in pairs(classes) {
        eprintln!("{:<15} {:<15} t = {t:+.2}", CLASSES[one], CLASSES[other]);
    }
    eprintln!(
        "{}",
        if told_apart { "the classes can be told apart" } else { "the classes cannot be told apart" }
    );
}
