// Package proxy translates between the Multipath TCP of a UE and the plain TCP of a
// server, packet by packet, without ending either connection (FlexCP §3). It is
// pure: the caller brings packets, the time and room for what is to be sent; there
// is no I/O, no clock and no goroutine in it. A [Proxy] belongs to one worker.
//
// # Positions
//
// Everything inside is computed on 64-bit positions of two byte streams, u for the
// uplink (UE to server) and d for the downlink; wire numbers are converted at the
// packet's edge by signed 32-bit distance to what is expected:
//
//	u = 0 first byte    DSN_A = IDSN_A + 1 + u    SN to server   = ISN_UE + 1 + u
//	d = 0 first byte    DSN_B = IDSN_B + 1 + d    SN from server = ISN_server + 1 + d
//
// SSNs are kept relative to the subflow's ISN: the SYN is 0, the first byte 1.
// The first subflow has the 4-tuple and both ISNs of the TCP connection.
//
// # Rules
//
// RFC 8684 for connections that a UE opens with MP_CAPABLE version 1 straight to
// the server's address: handshake, joins, data and acknowledgments both ways, SACK,
// window, timestamps (RFC 7323), DATA_FIN and FIN, RST and MP_FASTCLOSE,
// ADD_ADDR (echoed), REMOVE_ADDR, TCP Fast Open, ECN, falling back to plain TCP. Beyond the RFC, and
// why, from the behaviour of the Linux 6.18 client:
//
//   - Right after the third ACK the UE gets a DSS with a DATA_ACK: the first packet
//     without one makes a client plain TCP for good.
//   - Each emitted segment has a DSS for exactly its own payload: of two different
//     overlapping mappings a client resets the subflow.
//   - The server is acknowledged what the UE's DATA_ACK covers, nothing else; what a
//     subflow's ACK covers beyond it is reported by SACK. Where DATA_ACK lags, one
//     byte of old data solicits it.
//   - A subflow is acknowledged what the server has acknowledged or SACKed.
//   - Uplink data beyond the server's window are cut off and acknowledged on the
//     subflow alone; the UE sends them again.
//   - A hole that a subflow is left with because its data went another way is filled
//     with bytes under the mapping the hole had, whose DSNs are acknowledged, so
//     that the receiver drops them.
//   - In Redundant mode each new packet goes on a subflow of both accesses, and is
//     acknowledged by DATA_ACK and SACKed when either copy arrived; a copy that was
//     lost alone leaves a hole to fill.
//   - Steering an established connection never ends it: a subflow that is silent
//     keeps its state and is probed until it answers.
//   - Where a steering mode reads round trips, an access that carries nothing is measured
//     with a byte under an SSN of its own and an acknowledged DSN, as a join begins with.
//
// Subflows may come over other sessions than the one in which their connection was opened,
// if the rules of both are of one group ([Rule]): the PDU sessions of a UE under an SMF that
// knows no MAR are joined so.
//
// HARDCASES.md beside this says where each hard case is tested, and what came of the rules
// that had to be tried.
//
// # The transport converter
//
// RFC 8803 for UEs that open a connection to the converter's address and name the server in
// a message in front of their data ([Session.Converter]): the SYN's payload, as of TCP Fast
// Open, or what comes with the third ACK. The server sees the session's own address and a
// port of its, the UE the converter; convert.go has how positions of the two faces relate.
// Info is answered, cookies are asked for if wanted ([Config.ConvertCookies]), the options
// of an extended Connect go into the server's SYN, and those of its answer back; what cannot
// be done is answered with the RFC's error. A UE that speaks plain TCP is converted to plain
// TCP, as is one that falls back, and IP versions may differ. Beyond the RFC, and why:
//
//   - Our SYN/ACK has no payload and acknowledges what the UE's last SYN carried, neither
//     less nor more: anything else ends MPTCP at the Linux client. The message to the UE is
//     the first mapped data, sent by a timer until it is acknowledged.
//   - A SYN without payload is answered before a server is asked, where the RFC would have
//     it ignored: Linux repeats a lost SYN without its payload, and a UE that has no Fast
//     Open cookie sends none. Timestamps and window scaling are not offered then, since
//     nobody knows whether the server has them.
//   - A server is given up after six seconds: a Linux client that is first answered at its
//     fourth SYN speaks no MPTCP to anybody for an hour.
//   - The server is asked with MP_CAPABLE if the Connect wants so, for the UE to learn
//     whether it could do without a converter; our third ACK has the server fall back.
//
// # For a program around it
//
// What FlexCP §4 offers as a proxy socket is a Go API: [Config] Accept and Closed tell of
// connections, [Conn.Status] of their state, subflows, round trips, losses and bytes;
// [Proxy.SetPolicy] changes the policy of one, [Proxy.SetScheduler] hands its steering to
// code of the user's.
//
// # Bad packets
//
// A packet is taken only if its SN and what it acknowledges are ones that its sender may
// use now (RFC 9293 §3.10.7.4, RFC 5961): without that, whoever knows the 4-tuple could
// forge a DATA_ACK or a REMOVE_ADDR. Any other changes no state, is counted, and answered
// with the numbers expected, at most twice a second on each subflow and to each server.
// An RST counts at the SN expected alone, or with the key of an MP_FASTCLOSE. Where this is
// laxer than the RFCs, since numbers here lag behind those of the ends, accept.go says so.
//
// What the ends can make the proxy keep is bounded (TestExhaustion, TestSYNFlood):
//
//	connections of a session             16,384 (maxConnections), of them
//	  without the third ACK                 256 (maxHandshakes), 60 s long; each keeps at most
//	                                        one packet of the UE for the converter
//	subflows of a connection                 32 (maxSubflows), of them
//	  without the third ACK                   8 (maxJoining), 60 s long; the oldest gives way
//	pieces of a connection's mappings    16,384 of all subflows, as many by position (maxRuns)
//	SACKed ranges                            64 of each subflow and of the server (dsm.MaxRanges)
//	numbers outstanding on a subflow       2^30 (maxAhead)
//	pieces looked at for a packet's SACK    512 (maxWalk)
//	segments of one round of filling      1,024 (maxFill), 10 if the last was not answered
//
// Beyond them a SYN becomes plain TCP, a join is refused, and data are dropped, to be sent
// again.
//
// # Left out
//
// AccECN; urgent data (the flag is cleared, RFC 8684 §3.3.1); translation of ICMP errors
// (about a converted connection they end here, and tell the UE of a server that cannot be
// reached, but not of a narrow path); servers' Fast Open on behalf of a converted
// connection's UE, whose cookie is passed on and data are not; proposing addresses to the UE; MPTCP version 0 (becomes
// plain TCP).
package proxy
