// Package e2e holds the end-to-end tests: the UPF, the SMF and the lab as they are
// shipped, with the Linux kernel's own MPTCP in the UE and plain TCP servers in
// the data network. It has no code but tests.
//
// The tests need root, nginx and a kernel with MPTCP; where one is missing they
// skip and name it, or fail if REQUIRE_E2E=1. BRAID_BIN names a folder with braid
// and upf to test; by default both are built. E2E_PCAP names a folder for a
// capture of every test's UE and data network.
//
// All tests share one lab and run one after another. After each one its
// connections must be gone from both kernels, and none of the counters of
// [mptcpclient.CheckUE] and [mptcpclient.CheckServer] may have moved unless the
// test says why, or, of [mptcpclient.ServerReneging], an access died.
package e2e
