package pmf

import "time"

// The numbers of PMFP. A comment behind each says where it is from: "confirmed" with the
// source, or "unconfirmed": chosen here, in the manner of the 3GPP's other protocols, until
// somebody holds it against TS 24.193 §6.2 and §8.

// Type is the type of a message (TS 24.193 §6.2.2.1). The messages are those of the
// standard; their numbers are not known to be.
type Type uint8

// Message types.
const (
	EchoRequest             Type = 1  // unconfirmed
	EchoResponse            Type = 2  // unconfirmed
	AccessReport            Type = 3  // unconfirmed
	Acknowledgement         Type = 4  // unconfirmed
	PLRCountRequest         Type = 5  // unconfirmed
	PLRCountResponse        Type = 6  // unconfirmed
	PLRReportRequest        Type = 7  // unconfirmed
	PLRReportResponse       Type = 8  // unconfirmed
	UADProvisioning         Type = 9  // unconfirmed
	UADProvisioningComplete Type = 10 // unconfirmed
)

// Layout: every message begins with its type and the extended procedure transaction
// identity, EPTI. What follows belongs to the type; octets behind it are information
// elements that nobody here knows, and are passed over (TS 24.007 §11.2.4).
const (
	headerLen     = 3 // unconfirmed: type (1), EPTI (2)
	echoLen       = 4 // unconfirmed: header, RI (1)
	accessLen     = 4 // unconfirmed: header, access and status (1)
	reportRequest = 4 // unconfirmed: header, restart (1)
	reportLen     = 8 // unconfirmed: header, restart (1), packets counted (4)
	uadLen        = 4 // unconfirmed: header, uplink distribution (1)
)

// Identities of transactions: the high bit tells who chose one.
const (
	networkEPTI = 0x8000 // unconfirmed
)

// Octets of the messages.
const (
	access3GPP      = 1      // confirmed: the value, TS 24.501 §9.11.2.1A; its place here is not
	accessNon3GPP   = 2      // confirmed: the value, TS 24.501 §9.11.2.1A; its place here is not
	accessMask      = 0x03   // unconfirmed
	statusAvailable = 1 << 2 // unconfirmed: 0 = unavailable
	restartCounting = 1 << 0 // unconfirmed

	// Uplink distribution: the code of Load-Balancing in an ATSSS rule (pycrate
	// TS24193_ATSSS, of TS 24.193 §6.1.3.2): 1 is all on 3GPP access, each step moves 10 %.
	splitFirst = 1  // confirmed: the code, there; its use here is not
	splitLast  = 11 // confirmed: the code, there; its use here is not
	splitStep  = 10 // confirmed: the code, there; its use here is not
)

// Retransmission (TS 24.193 §8: T101 and on in the UE, T201 and on in the network).
const (
	answerTime = 500 * time.Millisecond // unconfirmed: after which a request is sent again
	reportTime = 500 * time.Millisecond // unconfirmed: after which an access report or assistance data is
	maxSent    = 5                      // unconfirmed: how often a message is sent before it is given up
)
