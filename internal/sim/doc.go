// Package sim is a deterministic simulation of the MPTCP to TCP translator of
// package atsss/proxy: a client that behaves as the MPTCP stack of Linux 6.18
// does, a strict TCP server, a network between them that delays, drops,
// reorders and duplicates, and the real proxy in the middle. Time is virtual and
// all chance comes from one seed, so every run can be repeated.
//
// Where wanted the server is a real TCP stack instead, gVisor's netstack, in the same
// virtual time ([RunNetstack]).
//
// Both endpoints of ours share one TCP ([tcp]); the client adds what MPTCP demands of a
// subflow through hooks. An observer at the proxy's edges ([observer]) knows the
// keys and checks each emitted packet against what arrived before it. The codec
// of MPTCP options here (mpopts.go) is written from RFC 8684 on its own, so that
// an error in package mptcp is not hidden by sharing it.
//
// Positions are used in place of sequence numbers throughout: u counts the
// bytes that the client's application wrote, d those of the server's, both from
// 0; SSN is relative to a subflow's SYN, the first byte is 1.
//
// Left out: Convert (RFC 8803), ECN, IP fragments, ICMP.
package sim
