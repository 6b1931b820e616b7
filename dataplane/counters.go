package dataplane

import (
	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// counter is the index of a worker's counter.
type counter uint8

const (
	n3Received counter = iota
	n3ReceivedBytes
	n3Sent
	n3SentBytes
	n6Received
	n6ReceivedBytes
	n6Sent
	n6SentBytes

	echoRequests
	echoRequestsSent
	echoResponses
	endMarkersReceived
	endMarkersSent
	errorIndicationsReceived
	errorIndicationsSent
	extensionNotificationsReceived
	extensionNotificationsSent
	notificationsLimited // Error Indications and notifications that the rate limit kept back
	eventsLost           // the control side did not take them in time

	ueToUE // packets from UE to UE that did not go to N6
	routerAdvertisements
	clampedMSS      // SYNs whose MSS was lowered
	fragmented      // packets that were cut to fit a tunnel
	tooBigSent      // ICMP errors about packets that do not fit
	heldPackets     // of idle UEs, that were held
	redundantCopies // of ordinary traffic, sent over the second access as well

	pmfReceived // PMFP messages, good or not
	pmfSent
	pmfUnsent   // that no FAR leads to the UE for
	pmfLost     // times that an access became unavailable by PMFP
	pmfReturned // and available again
	pmfBehind   // ticks in which not all sessions had their turn

	notOwner // packets that came to a worker which does not own them and were handed over

	guestUplink   // packets handed to the worker that has their connection
	guestDownlink // packets handed to the worker that has their session
	guestReturned // of guestUplink, given back

	dropMessageType
	dropUnknownTEID
	dropUnknownUE
	dropSpoofedSource
	dropLinkLocal    // IPv6 from a link-local address, and nothing that is answered here
	dropLinkSpecific // from an address that is for the converter only, to elsewhere
	dropNoPDRUplink
	dropNoPDRDownlink
	dropGateUplink
	dropGateDownlink
	dropRateUplink
	dropRateDownlink
	dropQuota
	dropFARUplink
	dropFARDownlink
	dropNoAccess
	dropNoSession
	dropNotOwner
	dropTooLong
	dropHeldFull // the UE is idle and enough of its packets wait
	dropHeldEnd  // the session ended while they waited
	dropPMFFragment
	dropPMFAccess // a PMFP message over another access than its port is for
	dropGuestRing
	dropGuestFlows

	numCounters
)

var counterNames = [numCounters]string{
	n3Received:                     "n3_received_packets",
	n3ReceivedBytes:                "n3_received_bytes",
	n3Sent:                         "n3_sent_packets",
	n3SentBytes:                    "n3_sent_bytes",
	n6Received:                     "n6_received_packets",
	n6ReceivedBytes:                "n6_received_bytes",
	n6Sent:                         "n6_sent_packets",
	n6SentBytes:                    "n6_sent_bytes",
	echoRequests:                   "echo_requests_received",
	echoRequestsSent:               "echo_requests_sent",
	echoResponses:                  "echo_responses_received",
	endMarkersReceived:             "end_markers_received",
	endMarkersSent:                 "end_markers_sent",
	errorIndicationsReceived:       "error_indications_received",
	errorIndicationsSent:           "error_indications_sent",
	extensionNotificationsReceived: "extension_notifications_received",
	extensionNotificationsSent:     "extension_notifications_sent",
	notificationsLimited:           "notifications_rate_limited",
	eventsLost:                     "events_lost",
	ueToUE:                         "ue_to_ue",
	routerAdvertisements:           "router_advertisements_sent",
	clampedMSS:                     "mss_clamped",
	fragmented:                     "fragmented",
	tooBigSent:                     "icmp_too_big_sent",
	heldPackets:                    "held_packets",
	redundantCopies:                "redundant_copies",
	pmfReceived:                    "pmf_received",
	pmfSent:                        "pmf_sent",
	pmfUnsent:                      "pmf_unsent",
	pmfLost:                        "pmf_access_lost",
	pmfReturned:                    "pmf_access_returned",
	pmfBehind:                      "pmf_behind",
	notOwner:                       "not_owner",
	guestUplink:                    "guest_uplink_packets",
	guestDownlink:                  "guest_downlink_packets",
	guestReturned:                  "guest_returned_packets",
	dropMessageType:                "drop_message_type",
	dropUnknownTEID:                "drop_unknown_teid",
	dropUnknownUE:                  "drop_unknown_ue",
	dropSpoofedSource:              "drop_spoofed_source",
	dropLinkLocal:                  "drop_link_local",
	dropLinkSpecific:               "drop_link_specific",
	dropNoPDRUplink:                "drop_no_pdr_uplink",
	dropNoPDRDownlink:              "drop_no_pdr_downlink",
	dropGateUplink:                 "drop_gate_uplink",
	dropGateDownlink:               "drop_gate_downlink",
	dropRateUplink:                 "drop_rate_uplink",
	dropRateDownlink:               "drop_rate_downlink",
	dropQuota:                      "drop_quota",
	dropFARUplink:                  "drop_far_uplink",
	dropFARDownlink:                "drop_far_downlink",
	dropNoAccess:                   "drop_no_access",
	dropNoSession:                  "drop_no_session",
	dropNotOwner:                   "drop_not_owner",
	dropTooLong:                    "drop_too_long",
	dropHeldFull:                   "drop_held_full",
	dropHeldEnd:                    "drop_held_end",
	dropPMFFragment:                "drop_pmf_fragment",
	dropPMFAccess:                  "drop_pmf_wrong_access",
	dropGuestRing:                  "drop_guest_ring_full",
	dropGuestFlows:                 "drop_guest_flows_full",
}

// Names of the directions and accesses in counters.
var accessNames = [steer.NumAccesses]string{"3gpp", "non_3gpp"}

// counters are those of one worker; only it writes them. Bytes are of IP packets
// on N6 and of GTP-U messages on N3.
type counters struct {
	n    [numCounters]uint64
	gtpu [gtpu.NumReasons]uint64   // N3: refused by gtpu.Parse
	n3IP [packet.NumReasons]uint64 // N3: refused by packet.Parse
	n6IP [packet.NumReasons]uint64
	pmf  [pmf.NumReasons]uint64 // PMFP messages that the PMF did not take

	// What went over each access: inner IP packets and their bytes.
	uplink, downlink [steer.NumAccesses]struct{ packets, bytes uint64 }
}

func (c *counters) each(f func(name string, v uint64)) {
	for i, v := range c.n {
		f(counterNames[i], v)
	}
	for r := gtpu.OK + 1; r < gtpu.NumReasons; r++ {
		f("drop_n3_gtpu_"+r.String(), c.gtpu[r])
	}
	for r := packet.OK + 1; r < packet.NumReasons; r++ {
		f("drop_n3_ip_"+r.String(), c.n3IP[r])
		f("drop_n6_ip_"+r.String(), c.n6IP[r])
	}
	for r := pmf.OK + 1; r < pmf.NumReasons; r++ {
		f("drop_pmf_"+r.String(), c.pmf[r])
	}
	for a, name := range accessNames {
		f("uplink_"+name+"_packets", c.uplink[a].packets)
		f("uplink_"+name+"_bytes", c.uplink[a].bytes)
		f("downlink_"+name+"_packets", c.downlink[a].packets)
		f("downlink_"+name+"_bytes", c.downlink[a].bytes)
	}
}
