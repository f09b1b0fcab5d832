//! How many requests the API takes: a second's worth of each tenant and of each of its tokens, and of each address that has no accepted token.
//!
//! A token bucket each (governor's GCRA): a rate, and a burst above it. What a tenant may is in its plan (`apiRequestsPerSecond`, `apiBurst`);
//! one token of it may do at most [`TOKEN_PERCENT`] of that, so that a program which runs away leaves room for the people who stop it. A
//! platform admin's token may do what a tenant of the plan `standard` may. Workers' own calls are not limited, nor is a server's health.
//! A request counts once, when its token is known and before anything else is done for it, however long it then waits or streams. An address
//! counts with requests whose token is missing or refused, and with pages that need none.
//! Must never: keep more buckets than its limits say, look into the metadata for each request, or let one tenant's requests empty another's
//! bucket.

mod bucket;
mod tally;

pub use bucket::Rate;
pub(crate) use tally::Tally;

use crate::api::App;
use crate::peer::From;
use crate::problem::Problem;
use crate::token::Principal;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bucket::{Buckets, Verdict};
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::tenant_limits::{TenantLimits, Unit};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How much of its tenant's rate and burst one token may use, in percent.
const TOKEN_PERCENT: u32 = 80;
/// How long a tenant's rate is believed before its plan is looked up again.
const RATE_FRESH: Duration = Duration::from_secs(2);
/// Tenants, tokens and addresses that have buckets of their own. About 200 bytes each.
const TENANTS_MAX: usize = 20_000;
const TOKENS_MAX: usize = 50_000;
const ADDRESSES_MAX: usize = 20_000;
/// What answers call the rate of an address, which is this server's and no tenant's.
const ADDRESS_LIMIT: &str = "addressRequestsPerSecond";

/// All buckets of this process.
#[derive(Debug)]
pub(crate) struct Rates {
    tenants: Buckets<TenantId>,
    /// By issuer and `jti`, which two issuers may both use.
    tokens: Buckets<(String, String)>,
    addresses: Buckets<IpAddr>,
    known: Mutex<HashMap<TenantId, (Rate, Instant)>>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            tenants: Buckets::new(TENANTS_MAX),
            tokens: Buckets::new(TOKENS_MAX),
            addresses: Buckets::new(ADDRESSES_MAX),
            known: Mutex::default(),
        }
    }
}

impl Rates {
    /// A tenant's rate as it was last looked up; `None` where somebody must do that now. Of several who ask at once, one is told so.
    fn known(&self, tenant: &TenantId) -> Option<Rate> {
        let mut known = self.known.lock();
        let (rate, at) = known.get_mut(tenant)?;
        if at.elapsed() < RATE_FRESH {
            return Some(*rate);
        }
        *at = Instant::now();
        None
    }

    fn learn(&self, tenant: &TenantId, rate: Rate) {
        let mut known = self.known.lock();
        if known.len() >= TENANTS_MAX {
            known.retain(|_, (_, at)| at.elapsed() < RATE_FRESH);
        }
        known.insert(tenant.clone(), (rate, Instant::now()));
    }

    /// Counts a request of a token. The token's bucket comes first, so that what it is refused is not taken from its tenant's.
    fn admit(&self, principal: &Principal, rate: Rate, tally: &Tally) -> Result<(), Problem> {
        let key = (principal.issuer().to_owned(), principal.token().to_owned());
        let Some(tenant) = principal.tenant() else {
            return told("token", &self.tokens.check(&key, rate), rate, tally);
        };
        let share = rate.percent(TOKEN_PERCENT);
        told("token", &self.tokens.check(&key, share), share, tally)?;
        told("tenant", &self.tenants.check(tenant, rate), rate, tally)
    }

    /// Counts a request of an address that has shown no accepted token.
    fn stranger(&self, from: &From, rate: Rate, tally: &Tally) -> Result<(), Problem> {
        let Some(address) = from.client.map(network_of) else { return Ok(()) };
        told("address", &self.addresses.check(&address, rate), rate, tally)
    }
}

/// What one customer of a provider has: an IPv6 address stands for its /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Puts down how a bucket stands, for the answer's headers, and makes a refusal of an empty one.
fn told(whose: &'static str, verdict: &Verdict, rate: Rate, tally: &Tally) -> Result<(), Problem> {
    tally.add(whose, rate, verdict);
    let Verdict::Wait { wait, used } = verdict else { return Ok(()) };
    let (code, what) = match whose {
        "tenant" => (Code::TooManyRequests, "this tenant has sent"),
        "token" => (Code::TooManyRequests, "this token has sent"),
        _ => (Code::TooManyStrangers, "this address has sent, without a token that is accepted,"),
    };
    let limit = if whose == "address" { ADDRESS_LIMIT } else { "apiRequestsPerSecond" };
    let detail = format!(
        "{what} more than {} requests a second, and {} at once; nothing was done, send it again in {} ms",
        rate.per_second(),
        rate.burst(),
        wait.as_millis().saturating_add(1)
    );
    let (used, allowed) = (u64::from(*used), u64::from(rate.per_second()));
    Err(Problem::new(code, detail).with_figures(limit, used, allowed, Unit::RequestsPerSecond).after(*wait))
}

impl App {
    /// Counts a request of this principal; `Ok` where it may go on. A second look at the same request counts nothing.
    pub(crate) async fn admit(&self, principal: &Principal, extensions: &Extensions) -> Result<(), Problem> {
        if principal.is_worker() {
            return Ok(());
        }
        let Some(tally) = extensions.get::<Tally>().filter(|tally| tally.is_new()) else { return Ok(()) };
        let rate = self.rate_of(principal.tenant()).await;
        self.rates().admit(principal, rate, tally).inspect_err(|problem| self.metrics().limited(problem.code()))
    }

    /// What a request without an accepted token is told: why, or that there were too many of its address.
    pub(crate) fn turn_away(&self, headers: &HeaderMap, extensions: &Extensions, why: Problem) -> Problem {
        self.let_in(headers, extensions).err().unwrap_or(why)
    }

    fn let_in(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Problem> {
        let Some(tally) = extensions.get::<Tally>().filter(|tally| tally.is_new()) else { return Ok(()) };
        let from = From::of(extensions, headers, &self.config().trusted_proxies);
        let let_in = self.rates().stranger(&from, self.config().address_rate, tally);
        let_in.inspect_err(|problem| self.metrics().limited(problem.code()))
    }

    /// What the plan of a tenant allows. Where the metadata does not answer, what was known before, or what `standard` allows.
    async fn rate_of(&self, tenant: Option<&TenantId>) -> Rate {
        let standard = api_rate(&self.config().quotas);
        let Some(tenant) = tenant else { return standard };
        if let Some(known) = self.rates().known(tenant) {
            return known;
        }
        let rate = match self.policy().limits_of(tenant).await {
            Ok(limits) => limits.map_or(standard, |own| api_rate(&own)),
            Err(_) => self.rates().known(tenant).unwrap_or(standard),
        };
        self.rates().learn(tenant, rate);
        rate
    }
}

/// How many requests to the API.
fn api_rate(limits: &TenantLimits) -> Rate {
    Rate::new(limits.api_requests_per_second, limits.api_burst)
}

/// Counts a request for what needs no token against its address.
pub(crate) async fn strangers(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.let_in(request.headers(), request.extensions()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn of_several_who_find_a_stale_rate_one_looks_it_up() {
        let (rates, acme) = (Rates::default(), "acme".parse().unwrap());
        assert_eq!(rates.known(&acme), None);
        rates.learn(&acme, Rate::new(5, 10));
        assert_eq!(rates.known(&acme), Some(Rate::new(5, 10)));
        let stale = Instant::now().checked_sub(RATE_FRESH).unwrap();
        rates.known.lock().get_mut(&acme).unwrap().1 = stale;
        assert_eq!((rates.known(&acme), rates.known(&acme)), (None, Some(Rate::new(5, 10))));
    }
}
