// Package upf is the control side of the user plane function: it reads the
// config, speaks N4 with SMFs (TS 29.244), and compiles the rules of each PFCP
// session into what a worker runs.
//
// A request is validated and compiled as a whole, then installed as a whole, or
// refused as a whole with the Cause, the Offending IE and the Failed Rule ID that
// the standard names; a modification that fails leaves the old rules in force.
//
// docs/PFCP.md has every IE of the session messages and what becomes of it. Left
// out, and refused where a rule asks for it: predefined rules, Ethernet and MBS
// sessions, redirection, header enrichment, redundant transmission, session
// reporting rules. Accepted without effect: thresholds and steering mode indicator of
// a MAR, ATSSS control information, and of a QER its marking, its averaging window and
// what is for paging.
package upf
