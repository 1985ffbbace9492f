//! Words of the chained plugins: their keys, what other programs print, what other programs write on kernel objects.

/// Configurations of portmap.
pub const PORTMAP: &[&str] = &[
    "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"cni0\"},{\"name\":\"veth0\"},{\"name\":\"eth0\",\"sandbox\":\"/n\"}],\"ips\":[{\"address\":\"10.1.0.2/16\",\"interface\":2},{\"address\":\"fd00::2/64\",\"interface\":2}]}",
    "\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\"}]}",
    "{\"HostPort\":65535,\"ContainerPort\":1,\"Protocol\":\"UDP\",\"HostIP\":\"0.0.0.0\"}",
    "\"hostPort\":0",
    "\"hostPort\":65536",
    "\"hostIP\":\"::\"",
    "\"hostIP\":\"127.0.0.1\"",
    "\"hostIP\":\"::ffff:10.0.0.1\"",
    "\"protocol\":\"sctp\"",
    "\"snat\":false",
    "\"masqAll\":true",
    "\"markMasqBit\":31",
    "\"markMasqBit\":-1",
    "\"externalSetMarkChain\":\"KUBE-MARK-MASQ\"",
    "\"externalSetMarkChain\":\"a\\nb\"",
    "\"conditionsV4\":[\"-s\",\"192.0.2.0/24\"]",
    "\"conditionsV4\":[\"ip\",\"saddr\",\"192.0.2.0/24\"]",
    "\"conditionsV6\":[\"ip6\",\"daddr\",\"!=\",\"fd00::/8\"]",
    "\"conditionsV6\":[\"!\",\"-d\",\"::1\"]",
    "\"backend\":\"iptables\"",
    "\"backend\":\"nftables\"",
];

/// Configurations of firewall.
pub const FIREWALL: &[&str] = &[
    "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"cni0\"},{\"name\":\"veth0\"}],\"ips\":[{\"address\":\"10.1.0.2/16\"},{\"address\":\"fd00::2/64\"}]}",
    "\"backend\":\"nftables\"",
    "\"backend\":\"iptables\"",
    "\"backend\":\"firewalld\"",
    "\"backend\":\"\"",
    "\"ingressPolicy\":\"open\"",
    "\"ingressPolicy\":\"same-bridge\"",
    "\"ingressPolicy\":\"isolated\"",
    "\"iptablesAdminChainName\":\"CNI-ADMIN\"",
    "\"iptablesAdminChainName\":\"-j\"",
    "\"firewalldZone\":\"trusted\"",
];

/// What iptables-save prints.
pub const SAVED: &[&str] = &[
    "*nat\n",
    "*filter\n",
    "COMMIT\n",
    ":FORWARD DROP [0:0]\n",
    ":CNI-FORWARD - [0:0]\n",
    ":CNI-HOSTPORT-DNAT - [0:0]\n",
    ":CNI-DN-0 - [0:0]\n",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n",
    "-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment \"dnat name: \\\"net\\\" id: \\\"c1\\\"\" -m multiport --dports 80 -j CNI-DN-0\n",
    "-A FORWARD -j CNI-FORWARD\n",
    "-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
    "-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT\n",
    "-A CNI-FORWARD -s fd00::2/128 -j ACCEPT\n",
    "-A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 -j CNI-ISOLATION-STAGE-2\n",
    "-A CNI-ISOLATION-STAGE-2 -o cni0 -j DROP\n",
    " ! ",
    " -m comment --comment \"x y\" ",
    "\\\"",
    "CNI-DN-0",
];

/// Configurations of bandwidth.
pub const BANDWIDTH: &[&str] = &[
    "\"ingressRate\":1000000",
    "\"ingressBurst\":4294967295",
    "\"egressRate\":18446744073709551615",
    "\"egressBurst\":34359738359",
    "\"egressBurst\":34359738360",
    "\"ingressRate\":8",
    "\"ingressRate\":7",
    "\"runtimeConfig\":{\"bandwidth\":{\"IngressRate\":1,\"IngressBurst\":1}}",
    "\"shapedSubnets\":[\"10.0.0.0/8\"]",
    "\"unshapedSubnets\":[\"fd00::/8\"]",
    "\"unshapedSubnets\":[\"10.1.2.3/0\"]",
];

/// Configurations of tuning.
pub const TUNING: &[&str] = &[
    "\"sysctl\":{\"net.core.somaxconn\":\"500\"}",
    "\"net.ipv4.conf.IFNAME.arp_filter\":\"1\"",
    "\"net/ipv4/conf/IFNAME/arp_filter\":\"1\"",
    "\"net/../kernel/hostname\":\"x\"",
    "\"net.ipv4..x\":\"1\"",
    "\"IFNAME/../x\":\"1\"",
    "\"mac\":\"02:00:00:00:00:01\"",
    "\"mtu\":1400",
    "\"mtu\":65535",
    "\"promisc\":true",
    "\"allmulti\":false",
    "\"txQLen\":0",
    "\"dataDir\":\"/run/x\"",
    "\"args\":{\"cni\":{\"sysctl\":{\"net.core.somaxconn\":\"7\"},\"mac\":\"02:00:00:00:00:04\",\"mtu\":1300}}",
    "\"runtimeConfig\":{\"mac\":\"02:00:00:00:00:03\"}",
];

/// A key, an interface and an administrator's list.
pub const ALLOWLIST: &[&str] = &[
    "net.core.somaxconn\n",
    "net.ipv4.conf.IFNAME.arp_filter\n",
    "eth0\n",
    "eth0.5\n",
    "^net\\.ipv4\\.",
    "[a-z_]*$",
    "(a|b)",
    "(?i)",
    "{1,3}",
    "{1000}",
    "(?:",
    "\\b",
    "\\p{L}",
    ".*",
    "..",
    "//",
];

/// Files of earlier values.
pub const BACKUP: &[&str] = &[
    "\"mac\":\"02:00:00:00:00:01\"",
    "\"promisc\":true",
    "\"mtu\":1500",
    "\"mtu\":0",
    "\"mtu\":4294967296",
    "\"allmulti\":false",
    "\"txQLen\":1000",
    "\"sysctl\":[[\"net/core/somaxconn\",\"128\"]]",
    "\"sysctl\":[[\"../x\"]]",
    "\"network\":\"net\"",
    "\"network\":\"\"",
];

/// Configurations of sbr and vrf.
pub const ROUTING: &[&str] = &[
    "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/n\"}],\"ips\":[{\"address\":\"10.1.0.2/16\",\"gateway\":\"10.1.0.1\",\"interface\":0},{\"address\":\"fd00::2/64\",\"gateway\":\"fd00::1\",\"interface\":0}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}",
    "\"table\":100",
    "\"table\":0",
    "\"table\":4294967295",
    "\"table\":-1",
    "\"gateways\":[\"10.1.0.1\",\"fd00::1\"]",
    "\"gateways\":[\"::ffff:10.1.0.1\"]",
    "\"addSourceHints\":true",
    "\"vrfname\":\"blue\"",
    "\"vrfname\":\"..\"",
    "\"vrfname\":\"a b\"",
];

/// Attachments and comments.
pub const MARKS: &[&str] = &[
    "net\n",
    "c1\n",
    "eth0\n",
    ", net: ",
    ", if: ",
    ", id: ",
    ", via: ",
    ", keys: ",
    ", via: veth0, keys: 2",
    "134870fee6061018-ebce0e3dd4dafae3",
    "\"",
    "-",
];
