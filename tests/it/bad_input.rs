//! Whatever a peer sends, it is refused by name, nothing panics, and the connection lives on.
//!
//! The full list of malformed fields is asked by the foreign client in `tests/foreign/python/test_bad_input.py`; here
//! are the inputs that only a program can make up, many of them, from a printed seed.

use std::time::Duration;

use drivegate::gateway::proto::VerifyRequest;
use prost::Message as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Code;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, block_on};

/// Random messages sent in one run.
const ROUNDS: usize = 400;

/// Another test driver: damaged requests that still parse spend the budget of questions about the first.
const UNTOUCHED: &str = "000000199001010616";

#[test]
fn random_and_damaged_messages_are_refused_by_name_and_hurt_nobody() {
    let seed =
        std::env::var("DRIVEGATE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("DRIVEGATE_SEED={seed} repeats this run");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let deployment = Deployment::new();
    plenty(&deployment);
    let gateway = deployment.serve();
    block_on(async {
        let mut raw = RawClient::connect(&gateway).await;
        for round in 0..ROUNDS {
            let bytes = damaged(&mut random, round);
            let Err(status) = raw.send(bytes).await else { continue };
            let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
            let expected = [
                (Code::InvalidArgument, "REQUEST_MALFORMED"),
                (Code::InvalidArgument, "QUESTION_NOT_IN_CONTRACT"),
                (Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
                (Code::ResourceExhausted, "QUESTION_VARIATION_EXCEEDED"),
                (Code::PermissionDenied, "PURPOSE_NOT_PERMITTED"),
                (Code::PermissionDenied, "CONSENT_BASIS_NOT_ACCEPTED"),
                (Code::PermissionDenied, "FIELD_NOT_PERMITTED"),
                (Code::FailedPrecondition, "SUBJECT_UNDER_AGE"),
            ];
            assert!(expected.contains(&(status.code(), reason.as_str())), "round {round}: {status:?}");
        }
        let answer = gateway.partner("rental-demo").await.verify(rental(UNTOUCHED, NAME)).await;
        assert!(answer.is_ok(), "the gateway answers as before: {answer:?}", answer = answer.err());
    });
    assert!(gateway.page("/metrics").1.contains("drivegate_"), "the admin listener lives, too");
    assert!(gateway.stop(), "and it stops as it should");
}

/// Takes the limits out of the way.
fn plenty(deployment: &Deployment) {
    deployment.contract("rental-demo", |document| {
        let allowance = document["allowance"].as_table_mut().expect("a table");
        for key in ["rate_per_second", "burst"] {
            allowance.insert(key.to_owned(), 100_000.into());
        }
        let claims = document["claims"].as_table_mut().expect("a table");
        for key in ["slow_unconfirmed", "suspend_unconfirmed"] {
            claims.insert(key.to_owned(), 1_000_000.into());
        }
    });
}

/// Makes a message that is random, or a good one that is cut, flipped, doubled or padded.
fn damaged(random: &mut ChaCha8Rng, round: usize) -> Vec<u8> {
    let mut bytes = rental(NUMBER, NAME).encode_to_vec();
    match round % 5 {
        0 => {
            bytes = vec![0; random.random_range(0..2048)];
            random.fill_bytes(&mut bytes);
        }
        1 => bytes.truncate(random.random_range(0..bytes.len())),
        2 => {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        3 => {
            let at = random.random_range(0..bytes.len());
            let tail = bytes[at..].to_vec();
            bytes.extend(tail);
        }
        _ => bytes.extend(std::iter::repeat_n(0xff, random.random_range(1..20_000))),
    }
    bytes
}

/// A client that sends bytes instead of messages, all on one connection.
struct RawClient(tonic::client::Grpc<tonic::transport::Channel>);

impl RawClient {
    async fn connect(gateway: &Gateway<'_>) -> Self {
        let tls = gateway.tls("rental-demo");
        let channel = tls.connect(gateway.address(), "localhost", Duration::from_secs(5)).await;
        Self(tonic::client::Grpc::new(channel.expect("the partner is let in")))
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), tonic::Status> {
        self.0.ready().await.expect("the connection lives on");
        let path = http::uri::PathAndQuery::from_static("/drivegate.v1.VerificationService/Verify");
        let mut request = tonic::Request::new(bytes);
        request.set_timeout(Duration::from_secs(5));
        self.0.unary(request, path, Raw).await.map(|_| ())
    }
}

/// Bytes out, bytes in.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(into, &item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, tonic::Status> {
        let length = bytes::Buf::remaining(from);
        Ok(Some(bytes::Buf::copy_to_bytes(from, length).to_vec()))
    }
}

#[test]
fn the_raw_codec_sends_what_a_message_would() {
    let request = rental(NUMBER, NAME);
    let again = VerifyRequest::decode(request.encode_to_vec().as_slice()).expect("it is a message");
    assert!(again == request);
}
