package proxy

// Counters count what the proxy saw and did since it was made. They only grow.
type Counters struct {
	Connections     uint64 // taken with MP_CAPABLE
	FastOpens       uint64 // payload of the SYN that the server took
	Established     uint64 // third ACK seen
	Subflows        uint64 // joins established
	Conversions     uint64 // requests to the converter (RFC 8803), those that fail included
	ConvertErrors   uint64 // answered with an error
	ConvertIgnored  uint64 // SYNs to the converter with a payload that is no message of its protocol
	ConvertEarly    uint64 // SYNs to the converter without payload, answered before there is a request
	FallbackSYN     uint64 // MP_CAPABLE of a form that we do not speak, stripped
	FallbackV0      uint64 // MP_CAPABLE of version 0 (RFC 6824), stripped
	FallbackSYNData uint64 // payload of the SYN that the server did not take
	FallbackKeys    uint64 // no key, or place for the flow, was left
	FallbackLimit   uint64 // the session has too many connections or handshakes already
	FallbackACK     uint64 // third ACK without MP_CAPABLE
	FallbackLate    uint64 // UE fell back after establishment
	FallbackFailed  uint64 // the same when the connection could not go on: both sides reset
	JoinRefused     uint64 // unknown token, wrong address, too many subflows
	JoinBadHMAC     uint64
	JoinExpired     uint64 // third ACK did not come in time, or others needed the place
	AddAddrBadHMAC  uint64 // ADD_ADDR of the UE that its key did not make, ignored
	DownlinkBytes   uint64 // payload towards UEs, retransmissions included
	UplinkBytes     uint64 // payload towards servers, retransmissions included
	DownlinkRetrans uint64 // bytes a server sent again
	UplinkRetrans   uint64 // bytes a UE sent again
	Remapped        uint64 // bytes given to another subflow than before
	Copied          uint64 // bytes sent on a second subflow as well (Redundant mode)
	Filled          uint64 // bytes of filler
	Solicited       uint64 // one-byte segments that ask for a DATA_ACK
	PathSilent      uint64 // accesses of a session that stopped answering
	PathReturned    uint64
	Switched        uint64 // connections whose new data moved to another subflow
	ResetByServer   uint64
	ResetByUE       uint64
	ServerReneged   uint64 // servers that dropped data that they had SACKed
	Challenges      uint64 // unacceptable packets answered with the numbers expected (RFC 5961)
	Prios           uint64 // MP_PRIO of UEs, which change nothing
	IgnoredOptions  uint64 // MPTCP options of unknown subtype or wrong length, second ones, ones out of place
	BadDataACK      uint64 // DATA_ACKs of what was never sent, or long ago, ignored
	DropMalformed   uint64 // TCP header or options; no ACK flag
	DropChecksum    uint64
	DropBadDSSSum   uint64 // data of the UE with a wrong DSS checksum, or none; on the only subflow they pass
	DropNoMapping   uint64 // data without a DSS that covers them
	DropBeforeKeys  uint64 // of the server, before the third ACK
	DropStale       uint64 // for a closed connection or subflow
	DropBadACK      uint64 // acknowledges what was not sent, or more than a window below
	DropOutOfWindow uint64 // SN outside the window
	DropBadMapping  uint64 // DSN or DATA_FIN outside the window, or another than was declared
	DropAfterFIN    uint64 // data of the server beyond its FIN
	DropReset       uint64 // RST not at the SN expected (RFC 5961 §3)
	DropSYN         uint64 // SYN on a live connection (RFC 5961 §4)
	DropBadKey      uint64 // MP_FASTCLOSE, or third ACK, with another key
	DropNoSubflow   uint64 // no subflow is left to send on
	ConvertICMP     uint64 // ICMP errors of N6 about converted connections
	DropConverter   uint64 // to the converter, of no connection
	DropPortTaken   uint64 // of a UE's own connection whose 4-tuple a converted one has on N6
	DropScattered   uint64 // data whose mapping would be in more pieces than maxRuns
	CutAtWindow     uint64 // bytes of one side beyond the other's window
	UplinkVoided    uint64 // bytes acknowledged to the UE alone, since the server waits for others (see void.go)
}

// Each calls f for every counter.
func (c *Counters) Each(f func(name string, v uint64)) {
	f("connections", c.Connections)
	f("fast_opens", c.FastOpens)
	f("established", c.Established)
	f("subflows", c.Subflows)
	f("conversions", c.Conversions)
	f("convert_errors", c.ConvertErrors)
	f("convert_ignored", c.ConvertIgnored)
	f("convert_early", c.ConvertEarly)
	f("fallback_syn", c.FallbackSYN)
	f("fallback_v0", c.FallbackV0)
	f("fallback_syn_data", c.FallbackSYNData)
	f("fallback_keys", c.FallbackKeys)
	f("fallback_limit", c.FallbackLimit)
	f("fallback_ack", c.FallbackACK)
	f("fallback_late", c.FallbackLate)
	f("fallback_failed", c.FallbackFailed)
	f("join_refused", c.JoinRefused)
	f("join_bad_hmac", c.JoinBadHMAC)
	f("join_expired", c.JoinExpired)
	f("add_addr_bad_hmac", c.AddAddrBadHMAC)
	f("downlink_bytes", c.DownlinkBytes)
	f("uplink_bytes", c.UplinkBytes)
	f("downlink_retransmitted_bytes", c.DownlinkRetrans)
	f("uplink_retransmitted_bytes", c.UplinkRetrans)
	f("remapped_bytes", c.Remapped)
	f("copied_bytes", c.Copied)
	f("filled_bytes", c.Filled)
	f("solicited", c.Solicited)
	f("path_silent", c.PathSilent)
	f("path_returned", c.PathReturned)
	f("switched", c.Switched)
	f("reset_by_server", c.ResetByServer)
	f("reset_by_ue", c.ResetByUE)
	f("server_reneged", c.ServerReneged)
	f("challenges", c.Challenges)
	f("prios", c.Prios)
	f("ignored_options", c.IgnoredOptions)
	f("bad_data_ack", c.BadDataACK)
	f("drop_malformed", c.DropMalformed)
	f("drop_checksum", c.DropChecksum)
	f("drop_bad_dss_checksum", c.DropBadDSSSum)
	f("drop_no_mapping", c.DropNoMapping)
	f("drop_before_keys", c.DropBeforeKeys)
	f("drop_stale", c.DropStale)
	f("drop_bad_ack", c.DropBadACK)
	f("drop_out_of_window", c.DropOutOfWindow)
	f("drop_bad_mapping", c.DropBadMapping)
	f("drop_after_fin", c.DropAfterFIN)
	f("drop_reset", c.DropReset)
	f("drop_syn", c.DropSYN)
	f("drop_bad_key", c.DropBadKey)
	f("drop_no_subflow", c.DropNoSubflow)
	f("convert_icmp", c.ConvertICMP)
	f("drop_converter", c.DropConverter)
	f("drop_port_taken", c.DropPortTaken)
	f("drop_scattered", c.DropScattered)
	f("cut_at_window_bytes", c.CutAtWindow)
	f("uplink_voided_bytes", c.UplinkVoided)
}
