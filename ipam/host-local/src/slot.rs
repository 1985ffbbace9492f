//! What one range set owes an ADD: its next address, or the one that was requested.
use crate::error::Error;
use crate::pick::Candidate;
use crate::range::RangeSet;
use std::net::IpAddr;

/// One range set of a configuration, with the request that falls to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Position in the order `ipRanges`, old form, `ranges`: the reference's "range id".
    pub number: usize,
    /// The ranges.
    pub set: RangeSet,
    /// The requested address, if one lies in the set.
    pub request: Option<Candidate>,
}

impl Slot {
    /// The error of an ADD to `network` that finds no free address here.
    #[must_use]
    pub fn exhausted(&self, network: &str) -> Error {
        Error::Exhausted { network: network.to_owned(), set: self.number, ranges: self.set.to_string() }
    }

    /// The answer of a STATUS that finds none.
    #[must_use]
    pub fn not_available(&self, network: &str) -> Error {
        Error::NotAvailable { network: network.to_owned(), set: self.number, ranges: self.set.to_string() }
    }
}

/// Gives each set the first request that lies in it. The reference takes them in random order; a request that no set
/// serves is an error here before anything is reserved.
pub fn assign(sets: Vec<RangeSet>, mut requests: Vec<IpAddr>) -> Result<Vec<Slot>, Error> {
    let mut slots = Vec::new();
    for (number, set) in sets.into_iter().enumerate() {
        let at = requests.iter().position(|address| set.range_of(*address).is_some());
        let request = match at.map(|at| requests.remove(at)) {
            Some(address) => requested(&set, address)?,
            None => None,
        };
        slots.push(Slot { number, set, request });
    }
    if requests.is_empty() {
        return Ok(slots);
    }
    let addresses = requests.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::RequestsLeft { addresses })
}

fn requested(set: &RangeSet, address: IpAddr) -> Result<Option<Candidate>, Error> {
    let Some(range) = set.range_of(address) else { return Ok(None) };
    if range.gateway() == address {
        return Err(Error::RequestIsGateway { address, range: range.to_string() });
    }
    Ok(Some(Candidate { address, prefix: range.prefix(), gateway: range.gateway() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::RangeConf;

    fn sets() -> Vec<RangeSet> {
        let range =
            |subnet: &str| RangeConf { subnet: Some(subnet.parse().unwrap()), ..RangeConf::default() };
        RangeSet::check_all(&[
            vec![range("10.0.0.0/24"), range("10.0.1.0/24")],
            vec![range("fd00::/64")],
            vec![range("10.0.2.0/24")],
        ])
        .unwrap()
    }

    fn assigned(requests: &[&str]) -> Result<Vec<Option<String>>, Error> {
        let requests = requests.iter().map(|text| text.parse().unwrap()).collect();
        let request =
            |slot: Slot| slot.request.map(|one| format!("{}/{} {}", one.address, one.prefix, one.gateway));
        Ok(assign(sets(), requests)?.into_iter().map(request).collect())
    }

    #[test]
    fn each_set_gets_the_first_request_that_lies_in_it() {
        let (v4, v6) = ("10.0.1.7/24 10.0.1.1".to_owned(), "fd00::7/64 fd00::1".to_owned());
        assert_eq!(assigned(&["fd00::7", "10.0.1.7"]).unwrap(), [Some(v4), Some(v6), None]);
        assert_eq!(assigned(&[]).unwrap(), [None, None, None]);
    }

    #[test]
    fn a_request_that_nobody_serves_is_named() {
        for left in [&["10.0.9.9"][..], &["10.0.0.5", "10.0.9.9"], &["10.0.0.5", "10.0.1.5", "10.0.9.9"]] {
            let error = assigned(left).unwrap_err();
            assert!(error.to_string().contains("10.0.9.9"), "{error}");
            assert_eq!(error.code(), cni::Code::INVALID_CONFIG);
        }
    }

    #[test]
    fn the_gateway_is_not_given_out_on_request() {
        let error = assigned(&["10.0.1.1"]).unwrap_err();
        assert_eq!(error.to_string(), "requested ip 10.0.1.1 is the gateway of range 10.0.1.1-10.0.1.254");
    }
}
