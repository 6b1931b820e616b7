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
// [mptcpclient.CheckUE], [mptcpclient.CheckServer] and the UPF's that tell of a
// fallback or of garbage may have moved unless the test says why, or, of
// [mptcpclient.ServerReneging], an access died.
//
// # ATSSS
//
// The policies ask the UPF for ATSSS control parameters as they are needed; the lab's UE then
// has a PMF. What is tried, with MPTCP connections and with packet flows of UDP (ATSSS-LL):
//
//	each mode, 3GPP dying, returning, slow, lossy     TestModes
//	weights over many connections and flows           TestWeights
//	a MAR changes under connections and flows         TestModeChanges, TestPolicyMovesTraffic
//	a switch costs no byte, and no pause              TestSwitchUnderLoad
//	an access dies under load                         TestSwitchWhenAccessDies, TestAccessDies
//	Redundant loses nothing when an access dies       TestRedundant, TestRedundantFlows
//	a dead access is found without traffic            TestIdleAccessDies
//	the UE reports an access                          TestUEReportsAccess
//	a QoS flow is measured for itself                 TestPMFOfQoSFlows
//	subflows from link-specific addresses             TestConverterJoins
//	FlexCP's Figure 10                                TestFigure10
//	the samples of configs                            TestSamplePolicies
//
// TestConverter and those beside it reach servers by way of the UPF's transport converter
// (RFC 8803), from link-specific addresses, as libconvert does with Fast Open.
//
// # The kernel's own scenarios
//
// What the selftests mptcp_join.sh and mptcp_connect.sh of Linux 6.18 try between two
// of its stacks is tried here with the UPF and a plain TCP server at the far end: the
// client's half of what they check, by the client's counters, and that all bytes
// arrive.
//
//	subflows: none, one, many, limited        TestSubflows, TestTransfer, TestJoinStays
//	no reuse of the first subflow's address   TestNoSubflowFromFirstAddress
//	a subflow fails, times out                TestJoinAfterLoss
//	link failure                              TestAccessDies, TestAccessReturns, TestFlapping,
//	                                          TestBothAccessesDie, TestAccessOfManySubflowsDies
//	signal addresses, with ports              TestAddressesAnnounced
//	ADD_ADDR timeout                          TestEchoLost
//	remove, re-add, flush                     TestSubflowsComeAndGo, TestSubflowInUseRemoved, TestFlush
//	remove ID 0                               TestFirstSubflowRemoved
//	add while connected                       TestSubflowsComeAndGo, TestFullmesh
//	backup, MP_PRIO                           TestBackupEndpoint, TestBackupDies, TestBackupAtRunTime,
//	                                          TestPolicyMovesUplink
//	backup of the first subflow               TestFirstSubflowBackup
//	fullmesh, set later                       TestFullmesh, TestFullmeshSet
//	fastclose of client and server            TestClientAbort, TestClientGivesUp, TestServerReset
//	checksum, deny join ID 0                  TestClientOptions
//	without timestamps, SACK, window scaling  TestClientOptions
//	syncookies                                TestServerSYNCookies
//	IPv6                                      TestIPv6, and a row of most others
//	poll, mmap, sendfile both ways            TestWaysToWrite, TestBothWaysAtOnce, TestSmallTransfers
//	disconnect and connect again              TestReconnect
//	half close                                TestHalfClose
//	loss and reordering                       TestBadAccesses, TestNoFallback
//	simultaneous flows                        TestThroughputUnderLoss, TestManyConnections
//
// Left out is what needs MPTCP at the server (bind, laminar and implicit endpoints,
// limits of the server, transparent proxy) or tests the client alone (userspace path
// manager, IPv4-mapped addresses, socket options).
package e2e
