//! The text of a QR code: sealed by one deployment, opened by it alone.

use aws_lc_rs::aead::NONCE_LEN;

use super::claims;
use super::envelope::Envelope;
use super::keys::QrKeys;
use crate::domain::presentation::Presentation;
use crate::issuing::ports::{QrWriter, Unsealable};
use crate::verification::ports::{QrFault, QrReader};

/// What every text begins with: product and version of the form.
pub const QR_PREFIX: &str = "DG1:";

/// No text is longer, in characters.
pub const QR_TEXT_MAX: usize = 180;

/// Writes and reads the texts of QR codes. Touches no store.
#[derive(Debug)]
pub struct QrTokens {
    keys: QrKeys,
    /// What is authenticated beside the text: it names the deployment.
    authenticated: Vec<u8>,
}

/// Whose codes these are: a code of another deployment does not open, even under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The environment's word.
    pub environment: &'static str,
    /// Names the deployment: what all its replicas share and no other deployment has, such as the registry's id.
    pub id: [u8; 16],
}

impl QrTokens {
    /// Prepares the texts of a deployment.
    pub fn new(keys: QrKeys, deployment: &Deployment) -> Self {
        // The id has a fixed length and comes last: the parts cannot be told apart in two ways.
        let named = ["drivegate qr 1 ", deployment.environment, " "].concat();
        let external = [named.as_bytes(), &deployment.id].concat();
        Self { keys, authenticated: Envelope::authenticated(&external) }
    }
}

impl QrWriter for QrTokens {
    fn write(&self, presentation: &Presentation) -> Result<String, Unsealable> {
        let plain = claims::write(presentation).ok_or(Unsealable)?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_unspecified| Unsealable)?;
        let key = self.keys.sealing();
        let sealed = key.seal(nonce, &plain, &self.authenticated);
        let envelope = Envelope { key_id: key.id, nonce, ciphertext: sealed.map_err(|_failed| Unsealable)? };
        let text = [QR_PREFIX, &base45::encode(envelope.to_bytes().ok_or(Unsealable)?)].concat();
        if text.len() <= QR_TEXT_MAX { Ok(text) } else { Err(Unsealable) }
    }
}

impl QrReader for QrTokens {
    fn read(&self, text: &str) -> Result<Presentation, QrFault> {
        let envelope = take_apart(text).ok_or(QrFault::Malformed)?;
        let key = self.keys.find(envelope.key_id).ok_or(QrFault::NotGenuine)?;
        let plain = key.open(envelope.nonce, &envelope.ciphertext, &self.authenticated);
        let plain = plain.map_err(|_failed| QrFault::NotGenuine)?;
        claims::read(&plain).ok_or(QrFault::Malformed)
    }
}

/// Takes the text apart. Base45 has texts that are read alike (RFC 9285 §6 leaves them to the reader): only the one that is written counts.
fn take_apart(text: &str) -> Option<Envelope> {
    let body = text.strip_prefix(QR_PREFIX).filter(|_| text.len() <= QR_TEXT_MAX)?;
    let bytes = base45::decode(body).ok()?;
    if base45::encode(&bytes) == body { Envelope::from_bytes(&bytes) } else { None }
}
