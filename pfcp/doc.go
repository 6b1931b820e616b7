// Package pfcp is our side of the Packet Forwarding Control Protocol
// (TS 29.244): a guarded transport and a typed view of the IEs that Braid uses,
// both over github.com/wmnsk/go-pfcp.
//
// The transport, [Endpoint], implements TS 29.244 §6.4 (reliable delivery) and
// the parts of §7.6 (error handling) that come before a message is understood.
// The typed view parses each IE once into values of this package ([PDR],
// [FAR], [MAR], ...); what is wrong with one is an [Error] that holds the Cause
// and the Offending IE of the response.
//
// IE types above 271 are unknown to go-pfcp; those that we use are here.
//
// Bounds: what [MaxDatagram], and the limits on IEs, messages and stored answers beside
// it, let in costs milliseconds at most, whatever it holds.
//
// Left out: Ethernet and MBS sessions, redundant transmission, the parameters of
// MPQUIC, session reporting rules other than that of access availability.
package pfcp
