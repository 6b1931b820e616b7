// Package dsm stores the data sequence mappings of one direction of a connection: which
// stream positions travel under which subflow sequence numbers (FlexCP §3.2, the
// D-tree's contract). It knows no packets.
//
// A [Runs] is one ordered index of runs. A connection keeps one by stream position (DSN
// to subflow and SSN) and each subflow one by SSN (SSN to stream position). Positions
// and SSNs are both int64 here, expanded from the wire by the caller, so nothing wraps.
// A [Ranges] is a SACK scoreboard.
//
// # The D-tree's contract
//
//   - DSN and SSN lookup: Runs.At and Runs.Search on the one index or the other. The
//     paper searches one tree for both, since SSNs rise with DSNs on a subflow; an
//     index per subflow needs no such property, so moved data are no special case.
//   - Merge on insertion: pieces that continue one another are always one run.
//   - Dummy nodes: a hole before a segment is mapped along with it, in the same run.
//   - Equiv-SSN: data that were moved to another subflow stay in the first subflow's
//     index, too.
//   - Removal of the acknowledged left part: Runs.ReleaseTo, whole leaves unseen. There
//     is no rebalancing to put off.
//   - Nothing is removed that was only SACKed: a Ranges notes it, the runs stay.
//   - Timestamps and retransmitted bytes are kept per subflow by the caller, see below.
//
// # Shape
//
// Sorted leaves of up to 127 runs, the head of each cut off lazily, under a directory if
// there is more than one leaf. A leaf of one run is a cache line, and that is all that
// a connection without loss has in use; an empty store holds no memory. The paper's
// red-black tree and a single sorted slice are kept in the tests, run through the same
// model test and measured beside this. Nanoseconds, two subflows by turns, so that
// nothing merges; more in BENCHMARK.md:
//
//	live runs                            1                      64                   1,000                 100,000
//	                leaves   slice  rbtree  leaves   slice  rbtree  leaves   slice  rbtree  leaves   slice  rbtree
//	append            10.9     9.2    20.6     7.6     6.4    56.2     6.6     5.2    92.4    10.8     8.4     276
//	lookup by DSN      4.1     4.0     4.3     9.0     8.7    10.8    13.6    12.7    18.3    29.9    21.5    96.2
//	lookup by SSN      5.9     5.8     4.3     9.9     9.4    20.5    15.6    14.3    47.8    36.5    26.3     285
//	insert in middle  21.0    19.4    22.6    33.5    33.8    33.6    39.0     190    42.3    92.6 351,113     155
//	release one        9.6     6.0    12.7     5.5     4.4     7.8     6.8     3.9     5.6    10.7     7.5     5.1
//	release half       9.9     6.1    13.5    41.6    42.1    74.7     766   1,822     888   5,092  95,252  13,665
//
// # Timestamps
//
// The paper stamps each node and ignores the samples that merging spoils. Under load
// that is every one: a run has the time of its newest byte, and with data always in
// flight no ACK ever covers that byte before newer ones are merged behind it. Stamps
// that survive need a run per segment, 32 bytes each and all of them to be searched,
// where merging leaves one per subflow. So runs have no stamp; the caller times one
// segment per subflow, a new one as soon as the last is acknowledged, and gives it up
// when data are sent again (Karn's rule). That is a sample per round trip, as RFC 6298
// §3 asks for: TestRoundTripIsMeasuredUnderLoad in package proxy. Repeated bytes are
// counted where a lookup finds them mapped.
package dsm
