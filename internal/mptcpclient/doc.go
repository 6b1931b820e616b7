// Package mptcpclient is the UE's application: HTTP, raw connections, UDP and
// ping over the kernel's own Multipath TCP (RFC 8684), made from inside a network
// namespace of the lab, and the means to see what really happened: what the
// kernel says of a connection and of each subflow ([Inspect]), what the server's
// kernel says ([Diag]), how the bytes came in over time ([Trace]), and the MIB
// counters that must not move ([CheckUE], [CheckServer]).
//
// Linux only. Left out: IPv6 ping, name resolution (addresses are literals).
package mptcpclient
