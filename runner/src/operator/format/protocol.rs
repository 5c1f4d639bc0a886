//! Keywords of the IANA registry of protocol numbers.

/// The keyword of a protocol, if it has one.
pub(super) fn keyword(number: u64) -> Option<&'static str> {
    let keyword = *NAMES.get(usize::try_from(number).ok()?)?;
    (!keyword.is_empty()).then_some(keyword)
}

/// Indexed by number; empty where the registry gives no keyword.
#[rustfmt::skip]
const NAMES: [&str; 145] = [
    "HOPOPT", "ICMP", "IGMP", "GGP", "IPv4", "ST", "TCP", "CBT", "EGP", "IGP",
    "BBN-RCC-MON", "NVP-II", "PUP", "ARGUS", "EMCON", "XNET", "CHAOS", "UDP", "MUX", "DCN-MEAS",
    "HMP", "PRM", "XNS-IDP", "TRUNK-1", "TRUNK-2", "LEAF-1", "LEAF-2", "RDP", "IRTP", "ISO-TP4",
    "NETBLT", "MFE-NSP", "MERIT-INP", "DCCP", "3PC", "IDPR", "XTP", "DDP", "IDPR-CMTP", "TP++",
    "IL", "IPv6", "SDRP", "IPv6-Route", "IPv6-Frag", "IDRP", "RSVP", "GRE", "DSR", "BNA",
    "ESP", "AH", "I-NLSP", "SWIPE", "NARP", "MOBILE", "TLSP", "SKIP", "IPv6-ICMP", "IPv6-NoNxt",
    "IPv6-Opts", "", "CFTP", "", "SAT-EXPAK", "KRYPTOLAN", "RVD", "IPPC", "", "SAT-MON",
    "VISA", "IPCV", "CPNX", "CPHB", "WSN", "PVP", "BR-SAT-MON", "SUN-ND", "WB-MON", "WB-EXPAK",
    "ISO-IP", "VMTP", "SECURE-VMTP", "VINES", "TTP", "NSFNET-IGP", "DGP", "TCF", "EIGRP", "OSPFIGP",
    "Sprite-RPC", "LARP", "MTP", "AX.25", "IPIP", "MICP", "SCC-SP", "ETHERIP", "ENCAP", "",
    "GMTP", "IFMP", "PNNI", "PIM", "ARIS", "SCPS", "QNX", "A/N", "IPComp", "SNP",
    "Compaq-Peer", "IPX-in-IP", "VRRP", "PGM", "", "L2TP", "DDX", "IATP", "STP", "SRP",
    "UTI", "SMP", "SM", "PTP", "ISIS over IPv4", "FIRE", "CRTP", "CRUDP", "SSCOPMCE", "IPLT",
    "SPS", "PIPE", "SCTP", "FC", "RSVP-E2E-IGNORE", "Mobility Header", "UDPLite", "MPLS-in-IP", "manet", "Shim6",
    "WESP", "ROHC", "Ethernet", "AGGFRAG", "NSH",
];

#[cfg(test)]
mod tests {
    use super::keyword;

    #[test]
    fn keywords() {
        for (number, name) in [
            (1, Some("ICMP")),
            (6, Some("TCP")),
            (17, Some("UDP")),
            (41, Some("IPv6")),
            (47, Some("GRE")),
            (58, Some("IPv6-ICMP")),
            (61, None),
            (89, Some("OSPFIGP")),
            (112, Some("VRRP")),
            (132, Some("SCTP")),
            (136, Some("UDPLite")),
            (144, Some("NSH")),
            (145, None),
            (u64::MAX, None),
        ] {
            assert_eq!(keyword(number), name, "{number}");
        }
    }
}
