//! `PresentationService`: what the back end of the drivers' app may call, and nobody else.

mod handlers;
mod refusals;
mod watching;

pub(super) use handlers::WalletHandlers;
