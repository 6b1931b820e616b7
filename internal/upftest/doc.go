// Package upftest tests the UPF as a whole as the ordinary UPF that it replaces: bin/upf
// as it is shipped, under a session management function, gNBs, UEs and a data network
// that the tests play. It has no code but tests.
//
//	      gnb1 10.100.1.2 --.                         .-- smf 10.100.4.2
//	ue == |                  |-- upf 10.100.1.1 (N3) -+
//	      gnb2 10.100.2.2 --'                         '-- dn 10.100.6.2, nginx :80
//
// Every box is a network namespace with the kernel's own stack. == is the tests' gNB:
// it carries the packets of the UE's TUN device in GTP-U, with a codec of its own
// (package ran), and keeps what it hears. The SMF speaks PFCP over UDP as free5GC's does.
//
// A namespace is held by one thread of the tests, and what runs in it dies with that
// thread: whatever ends the tests, nothing stays but a directory of files, which the next
// run removes.
//
// The tests need root and nginx; where one is missing they skip and name it, or fail if
// REQUIRE_E2E=1. BRAID_BIN names a folder with the upf to test; by default it is built.
package upftest
