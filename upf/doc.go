// Package upf is the control side of the user plane function: it reads the
// config, speaks N4 with SMFs (TS 29.244), and compiles the rules of each PFCP
// session into what a worker runs.
//
// A request is validated and compiled as a whole, then installed as a whole, or
// refused as a whole with the Cause, the Offending IE and the Failed Rule ID that
// the standard names; a modification that fails leaves the old rules in force.
//
// Node level (TS 29.244 §6.2, §7.4): associations that CP functions set up, update and
// release, with sessions retained on request (§6.2.6); [Server.Drain] asks for their
// release (§6.2.7.3). Heartbeats each way, a peer's restart by its Recovery Time Stamp
// (TS 23.527 §4.2) and its silence. SMF sets with one association (§5.22.2) or one for
// each SMF (§5.22.3): another SMF takes a session over, and is left with those of one
// that goes (TS 23.527 §4.3). Session Set Deletion and Modification by FQ-CSID, Group
// ID and CP address (§7.4.6, §7.4.7). GTP-U paths are supervised, and their failure and
// recovery reported (§7.4.5, TS 23.527 §5). PFDs of flow descriptions (§6.2.5); those
// of URLs, domain names or custom content are refused. Sessions live on over an orderly
// restart if the config names a state file, with their usage, quotas and timers.
//
// One request is one step: the release of an association, or the restart of its CP
// function, takes all its sessions away before anything else of N4 is answered. That is
// about 8 µs a session, and what the plane takes to forget it: with 100,000 sessions
// heartbeats wait for a second or two.
//
// Left out at this level: load and overload control, the enhanced association release
// (EPFAR), clock drift, QoS of GTP-U paths, bundled messages.
//
// docs/PFCP.md has every IE of the session messages and what becomes of it. Left
// out, and refused where a rule asks for it: predefined rules, Ethernet and MBS
// sessions, redirection, header enrichment, redundant transmission, session reporting
// rules other than that of access availability, an application and SDF filters in one
// PDI. Accepted without effect: of a QER its marking, its averaging window and what is
// for paging.
//
// Multi-access sessions (§5.20): ATSSS control information is answered with what the
// config has of a transport converter, link-specific addresses and the performance
// measurement function; MARs of both functionalities and all five modes; the CP function
// is told of changes of an access's availability (§5.20.4.2), and tells of them
// (§5.20.5). Left out: MPQUIC, Ethernet sessions, and with them PMF by MAC address.
//
// Local rules give sessions whose SMF knows no MAR (§5.20) one of the config: a session's
// data network is its APN/DNN, or else the Network Instances of its PDRs, its slice the
// S-NSSAI of its establishment. The rule stands beside the FARs that the SMF gave, and lets
// MPTCP connections be joined between the sessions of one data network. Which access a
// session uses then follows from its tunnel's peer, known once N2 has told it, or the 3GPP
// Interface Type.
//
// Usage is reported, and so are downlink data, error indications and inactivity
// (TS 29.244 §5.2.2, §5.2.3.1, §5.2.5, §5.11.3, §7.5.8): docs/PFCP.md says what is done
// of each IE. The server is the only reader of the plane's events: what a worker has told
// of is taken before the rules change under it, so that no usage is ever too late.
package upf
