//! The address of a client, and the rate limit of requests that have nothing but that.

use super::{
    limit::{Counted, Limiter, Verdict},
    problem::HttpProblem,
};
use crate::{metrics, network::Networks};
use actix_web::{HttpRequest, web};
use ifmatch_types::Code;
use std::net::{IpAddr, Ipv4Addr};

/// The address of the client, behind the proxies that are trusted.
pub fn client_address(request: &HttpRequest) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    match request.app_data::<web::Data<Networks>>() {
        Some(trusted_proxies) => trusted_proxies.client(peer, request.headers()),
        None => peer,
    }
}

/// Counts a request against the rate limit of its client's address.
pub fn count_by_address(request: &HttpRequest) -> Verdict {
    match request.app_data::<web::Data<Limiter>>() {
        Some(limiter) => limiter.check(&Counted::at(client_address(request))),
        None => Verdict::Unlimited,
    }
}

/// Refuses a request to a path that does not exist if its address sends too many.
///
/// # Errors
///
/// `RATE_LIMITED`.
pub fn limit_by_address(request: &HttpRequest) -> Result<(), HttpProblem> {
    refuse_over_limit(&count_by_address(request))
}

/// Refuses a request that is over the rate limit.
///
/// # Errors
///
/// `RATE_LIMITED`.
pub fn refuse_over_limit(verdict: &Verdict) -> Result<(), HttpProblem> {
    over_limit(verdict).map_or(Ok(()), Err)
}

/// The refusal of a request that is over the rate limit.
pub fn over_limit(verdict: &Verdict) -> Option<HttpProblem> {
    verdict.is_refused().then(|| {
        metrics::rate_limited();
        HttpProblem::new(Code::RateLimited, "too many requests; wait before sending again")
            .after_ms(verdict.retry_after_ms())
    })
}
