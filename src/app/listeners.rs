//! The operator's listeners: read-only pages with reflection beside them, and the socket.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::error::StartError;
use super::operator::GatewayOperator;
use crate::admin::{AdminPages, AdminSocket, HttpListener};
use crate::config::GatewayConfig;
use crate::gateway::proto;

/// Opens both listeners and serves them in the background; returns where the pages are.
pub(super) fn start(
    config: &GatewayConfig,
    operator: &Arc<GatewayOperator>,
    background: &Runtime,
    stop: &CancellationToken,
) -> Result<SocketAddr, StartError> {
    let address = config.listen.admin;
    let pages = background
        .block_on(HttpListener::bind(address))
        .map_err(|source| StartError::Listen { address: address.to_string(), source })?;
    let local = pages.local_addr();
    let socket = {
        let _inside = background.enter();
        AdminSocket::bind(&config.listen.admin_socket)?
    };
    let shown = AdminPages {
        health: Arc::clone(operator) as _,
        status: Arc::clone(operator) as _,
        grpc: Some(tonic::service::Routes::new(reflection()?).into_axum_router()),
    };
    background.spawn(shown.serve(pages, stop.clone()));
    background.spawn(socket.serve(Arc::clone(operator) as _, Arc::clone(operator) as _, stop.clone()));
    Ok(local)
}

/// Reflection is for the operator's tools: partners have the proto files.
fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    StartError,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .build_v1()
        .map_err(|error| StartError::System {
            what: "set up reflection",
            source: std::io::Error::other(error),
        })
}
