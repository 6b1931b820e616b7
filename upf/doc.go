// Package upf is the control side of the user plane function: it reads the
// config, speaks N4 with SMFs (TS 29.244), and compiles the rules of each PFCP
// session into what a worker runs.
//
// A request is validated and compiled as a whole, then installed as a whole, or
// refused as a whole with the Cause, the Offending IE and the Failed Rule ID that
// the standard names; a modification that fails leaves the old rules in force.
//
// Left out, and refused where a rule asks for it: N9 (GTP-U towards other UPFs),
// UE addresses chosen here, traffic endpoints, predefined rules, application
// detection, Ethernet sessions, redirection. Accepted without effect: bit rates,
// buffering (packets are dropped), rules to and from the CP function, thresholds
// and steering mode indicator of a MAR, ATSSS control information.
//
// Usage is reported, and so are downlink data, error indications and inactivity
// (TS 29.244 §5.2.2, §5.2.3.1, §5.2.5, §5.11.3, §7.5.8): docs/PFCP.md says what is done
// of each IE.
package upf
