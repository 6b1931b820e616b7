// Package lab builds, on one machine and in network namespaces of its own, all
// that surrounds a UPF that serves a multi-access PDU session: a UE whose kernel
// speaks MPTCP (RFC 8684), a 3GPP and a non-3GPP access that carry its packets in
// GTP-U (TS 29.281, TS 38.415), the UPF, an SMF and a data network with nginx.
//
//	                                smf 10.100.4.2
//	                                 | N4
//	ue                               | 10.100.4.1
//	 ue0 10.60.0.1 == gnb 10.100.1.2 ---- upf 10.100.1.1
//	 ue1 10.60.0.2 == n3iwf 10.100.2.2 -- 10.100.2.1   10.100.6.1 -- dn 10.100.6.2
//	                            N3                        N6         nginx :80
//
// == is an access process ([RunAccess]): it owns the UE's TUN device and the
// GTP-U socket of the gNB or N3IWF, and delays, drops, reorders, duplicates, marks and
// rate-limits what passes ([Impairment]); so the lab needs no netem.
//
// Where the session's policy asks for ATSSS control parameters, a process more is the
// UE's part of it ([RunUE]): link-specific addresses on its devices, and a PMF.
//
// Each lab has a name; its namespaces are <name>-ue, <name>-gnb and so on under
// /run/netns, its state is in /run/braid/<name>. Nothing in the host's own
// namespace changes: no interface, route or sysctl.
//
// Left out: signalling between UE and core (NAS, NGAP, IKE), handover, QoS flows
// other than one, N3 over IPv6.
package lab
