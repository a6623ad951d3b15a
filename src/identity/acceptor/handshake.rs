//! How handshakes end, as a closed set that metrics can count.

use std::io;
use std::time::Duration;

use rustls::{CertificateError, Error};

use crate::domain::closed_set::closed_set;

closed_set! {
    /// How a connection attempt ended.
    pub enum HandshakeOutcome {
        /// Handed to the gateway; whether a contract lists the certificate is answered there.
        Accepted = 1, "accepted";
        /// The handshake took too long.
        TimedOut = 2, "timed-out";
        /// The peer went away.
        Disconnected = 3, "disconnected";
        /// No client certificate.
        NoCertificate = 4, "no-certificate";
        /// Issued by an authority we do not trust.
        UnknownAuthority = 5, "unknown-authority";
        /// Revoked.
        Revoked = 6, "revoked";
        /// Expired, or not valid yet.
        OutsideValidity = 7, "outside-validity";
        /// Nobody can tell whether it was revoked: a list is missing.
        RevocationUnknown = 8, "revocation-unknown";
        /// Nobody can tell whether it was revoked: the list has expired. Should always be zero.
        RevocationListExpired = 9, "revocation-list-expired";
        /// Not acceptable in another way: wrong usage, bad signature, unreadable.
        BadCertificate = 10, "bad-certificate";
        /// Not TLS 1.3, not HTTP/2, or not TLS at all.
        Protocol = 11, "protocol";
        /// All connections are taken.
        ConnectionsFull = 12, "connections-full";
        /// All connections of the address are taken.
        AddressFull = 13, "address-full";
        /// All connections of the partner are taken.
        PartnerFull = 14, "partner-full";
        /// No core takes sockets. Should always be zero.
        QueueFull = 15, "queue-full";
        /// The process has no descriptors left. Should always be zero.
        OutOfDescriptors = 16, "out-of-descriptors";
        /// A balancer's connection did not begin with a PROXY header, version 2, that names the caller.
        ProxyHeader = 17, "proxy-header";
    }
}

/// Is told how every connection attempt ended. Implemented by whoever counts.
pub trait HandshakeObserver: Send + Sync + 'static {
    /// Takes note of one attempt and its handshake's duration (zero when none began).
    fn handshake(&self, outcome: HandshakeOutcome, elapsed: Duration);
}

/// Sorts a failed handshake by cause.
pub(super) fn outcome_of(error: &io::Error) -> HandshakeOutcome {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::NoCertificatesPresented) => HandshakeOutcome::NoCertificate,
        Some(Error::InvalidCertificate(cause)) => certificate_outcome(cause),
        Some(Error::InvalidCertRevocationList(_)) => HandshakeOutcome::RevocationUnknown,
        Some(_) => HandshakeOutcome::Protocol,
        None => HandshakeOutcome::Disconnected,
    }
}

fn certificate_outcome(cause: &CertificateError) -> HandshakeOutcome {
    match cause {
        CertificateError::UnknownIssuer => HandshakeOutcome::UnknownAuthority,
        CertificateError::Revoked => HandshakeOutcome::Revoked,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => HandshakeOutcome::OutsideValidity,
        CertificateError::UnknownRevocationStatus => HandshakeOutcome::RevocationUnknown,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            HandshakeOutcome::RevocationListExpired
        }
        _ => HandshakeOutcome::BadCertificate,
    }
}
