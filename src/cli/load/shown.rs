//! Presentations to be redeemed: QR codes that a wallet issues before anything is measured, each for one request.

use futures_util::future::join_all;
use miette::{IntoDiagnostic as _, miette};

use super::subjects::Driver;
use crate::cli::verify::connection::Target;
use crate::cli::verify::refusal::Refusal;
use crate::gateway::proto::presentation_service_client::PresentationServiceClient;
use crate::gateway::proto::{self, audience};
use crate::identity::client::ClientTls;

/// Requests for codes in flight.
const LANES: usize = 64;

/// Whom the codes are issued for.
#[derive(Clone, Copy)]
pub struct Shown<'s> {
    /// The partner that will scan them.
    pub partner: &'s str,
    /// What it will ask.
    pub purpose: proto::Purpose,
}

/// Has a wallet issue QR codes, driver after driver as drawn. Drivers whose e-licence is not shown (superseded, withdrawn, …) are left
/// out, so there may be fewer.
///
/// # Errors
/// When the gateway cannot be reached, or issues none.
pub async fn issue(
    target: &Target,
    wallet: &ClientTls,
    shown: Shown<'_>,
    drivers: &[Driver],
    draw: &[u32],
    count: usize,
) -> miette::Result<Vec<String>> {
    let channel = target.channel(wallet).await.into_diagnostic()?;
    let lane = |first: usize| {
        let mut client = PresentationServiceClient::new(channel.clone());
        async move {
            let (mut codes, mut refused) = (Vec::with_capacity(count / LANES + 1), None);
            for turn in (first..count).step_by(LANES) {
                let driver = &drivers[draw[turn % draw.len()] as usize];
                match client.issue_qr(request(driver, shown)).await {
                    Ok(issued) => codes.push(issued.into_inner().token),
                    Err(status) => refused = Some(status),
                }
            }
            (codes, refused)
        }
    };
    let lanes = join_all((0..LANES).map(lane)).await;
    let refused = lanes.iter().find_map(|(_, refused)| refused.as_ref()).map(Refusal::of);
    let codes: Vec<String> = lanes.into_iter().flat_map(|(codes, _)| codes).collect();
    match refused {
        Some(refusal) if codes.is_empty() => Err(miette!(
            help = refusal.next_step(),
            "no QR code was issued: {:?} {}",
            refusal.code,
            refusal.reason.as_deref().unwrap_or_default()
        )),
        _ => Ok(codes),
    }
}

fn request(driver: &Driver, shown: Shown<'_>) -> proto::IssueQrRequest {
    proto::IssueQrRequest {
        holder: Some(proto::Holder {
            document_kind: driver.document.into(),
            licence_number: driver.number.clone(),
        }),
        purpose: shown.purpose.into(),
        audience: Some(proto::Audience { whom: Some(audience::Whom::PartnerId(shown.partner.to_owned())) }),
        ..Default::default()
    }
}
