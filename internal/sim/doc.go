// Package sim is a deterministic simulation of the MPTCP to TCP translator of
// package atsss/proxy: a client that behaves as the MPTCP stack of Linux 6.18
// does, a strict TCP server, a network between them that delays, drops, reorders,
// duplicates and corrupts packets, cuts and joins segments and dies for a while, and
// the real proxy in the middle. Time is virtual and
// all chance comes from one seed, so every run can be repeated.
//
// Where wanted the server is a real TCP stack instead, gVisor's netstack, in the same
// virtual time ([RunNetstack]).
//
// Both endpoints of ours share one TCP ([tcp]); the client adds what MPTCP demands of a
// subflow through hooks. An observer at the proxy's edges ([watch]) knows the
// keys and checks each emitted packet against what arrived before it. The codec
// of MPTCP options here (mpopts.go) is written from RFC 8684 on its own, so that
// an error in package mptcp is not hidden by sharing it.
//
// Clients may reach their servers by way of the proxy's transport converter (convert.go).
//
// Positions are used in place of sequence numbers throughout: u counts the
// bytes that the client's application wrote, d those of the server's, both from
// 0; SSN is relative to a subflow's SYN, the first byte is 1.
//
// # What is checked
//
// After every packet, by the observer (watch*.go) at the proxy's edges:
//
//   - A byte that goes to either side is one that came from the other, at its position;
//     an SSN never stands for two positions, unless a filler takes the place of one
//     (place). A mapping is that of its segment alone (dataToUE).
//   - The ACK to the server is at most the largest DATA_ACK, the DATA_ACK to the UE at most
//     the server's ACK, and neither goes back (ackToServer, dssToUE).
//   - A subflow's ACK and SACK cover what the server has acknowledged or SACKed, what was
//     beyond its window, and the FIN, nothing else (ackToUE, mayAck); the SACK to the
//     server covers what a subflow reported, and never begins at the ACK (ackToServer).
//   - TSval to the server does not go back, TSecr is not from the future (timestampsTo*);
//     right edges do not go back and are never wider than the peer's.
//   - No MPTCP option goes to the server or a plain client, and no packet without DATA_ACK
//     to an MPTCP client (toServer, toUE, dssToUE).
//   - A packet decodes strictly, 40 bytes of options at most, and fits the MTU (sendUE).
//
// After every packet, in the proxy: that the SSNs of a subflow have mappings without a gap
// and that all its tables agree ([proxy.Proxy.Verify]).
//
// By the endpoints, as failures, what Linux counts as DSSNotMatching, DSSNoMatchTCP,
// DSSCorruption, DssFallback, MPCapableDataFallback, NoDSSInWindow and MPJoinAckHMac
// (subflow_in.go, client.go), TCPSACKReneging (reneged, unless an access died or the UE
// took an address away) and PAWSEstab (checkEnd); that a peer acknowledges nothing that was
// not sent; that both applications read what was written. At the end: that every
// connection ended as planned before [Config.Limit], that no data were left, and that the
// proxy forgot it all (finish.go).
//
// TestMutants shows that each of these can fail.
//
// Left out: errors and options of Convert (RFC 8803) but for a server out of reach, ECN, IP fragments, ICMP, corruption that leaves the
// checksum right.
package sim
