//! `resolvConf`: the DNS part of a result from a file in the form of resolv.conf(5).
use cni::Dns;

/// Reads the four keywords that a result has room for; everything else, comments included, is passed over.
#[must_use]
pub fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(keyword), Some(first)) = (words.next(), words.next()) else { continue };
        match keyword.as_str() {
            "nameserver" => dns.nameservers.push(first),
            "domain" => dns.domain = first,
            "search" => dns.search.extend(std::iter::once(first).chain(words)),
            "options" => dns.options.extend(std::iter::once(first).chain(words)),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_keywords_are_read_and_the_rest_is_not() {
        let dns = parse(
            "# nameserver 9.9.9.9\n;x\n nameserver 10.0.0.1 # why not\nnameserver\tfd00::1\n\nsearch a.b c.d\n\
             domain a.b\noptions ndots:5 rotate\nsortlist 1.2.3.4\nnameserver\nsearch e\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.1", "fd00::1"]);
        assert_eq!(dns.search, ["a.b", "c.d", "e"]);
        assert_eq!(dns.domain, "a.b");
        assert_eq!(dns.options, ["ndots:5", "rotate"]);
    }
}
