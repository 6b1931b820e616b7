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
// ADD_ADDR (echoed), REMOVE_ADDR, TCP Fast Open, falling back to plain TCP. Beyond the RFC, and
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
//
// # For a program around it
//
// What FlexCP §4 offers as a proxy socket is a Go API: [Config] Accept and Closed tell of
// connections, [Conn.Status] of their state, subflows, round trips, losses and bytes;
// [Proxy.SetPolicy] changes the policy of one, [Proxy.SetScheduler] hands its steering to
// code of the user's.
//
// # Left out
//
// The Convert protocol; ECN (not negotiated); urgent data (the flag is
// cleared, RFC 8684 §3.3.1); translation of ICMP errors; proposing addresses to the
// UE; MPTCP version 0 (becomes plain TCP).
package proxy
