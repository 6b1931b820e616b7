package smf

import (
	"encoding/binary"
	"fmt"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// RefusedError is a UPF's answer whose Cause is not "request accepted".
type RefusedError struct {
	Request     string      // name of the refused request
	Cause       uint8       // TS 29.244 §8.2.1
	OffendingIE uint16      // type of the IE that the UPF objects to; 0 = not named
	FailedRule  pfcp.RuleID // the rule that could not be made; zero = not named
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("%s refused: cause %d (%s)", e.Request, e.Cause, causeNames[e.Cause])
	if e.OffendingIE != 0 {
		s += fmt.Sprintf(", offending IE %d", e.OffendingIE)
		if name, ok := ieNames[e.OffendingIE]; ok {
			s += " (" + name + ")"
		}
	}
	if e.FailedRule.Kind != 0 {
		s += ", failed rule " + e.FailedRule.String()
	}
	return s
}

// causeNames are the names of TS 29.244 Table 8.2.1-1.
var causeNames = map[uint8]string{
	ie.CauseRequestRejected:                 "request rejected",
	ie.CauseSessionContextNotFound:          "session context not found",
	ie.CauseMandatoryIEMissing:              "mandatory IE missing",
	ie.CauseConditionalIEMissing:            "conditional IE missing",
	ie.CauseInvalidLength:                   "invalid length",
	ie.CauseMandatoryIEIncorrect:            "mandatory IE incorrect",
	ie.CauseInvalidForwardingPolicy:         "invalid forwarding policy",
	ie.CauseInvalidFTEIDAllocationOption:    "invalid F-TEID allocation option",
	ie.CauseNoEstablishedPFCPAssociation:    "no established PFCP association",
	ie.CauseRuleCreationModificationFailure: "rule creation/modification failure",
	ie.CausePFCPEntityInCongestion:          "PFCP entity in congestion",
	ie.CauseNoResourcesAvailable:            "no resources available",
	ie.CauseServiceNotSupported:             "service not supported",
	ie.CauseSystemFailure:                   "system failure",
	ie.CauseRedirectionRequested:            "redirection requested",
}

// ieNames are the names of the IEs that we send.
var ieNames = map[uint16]string{
	ie.NodeID: "Node ID", ie.FSEID: "F-SEID", ie.RecoveryTimeStamp: "Recovery Time Stamp", ie.PDNType: "PDN Type",
	ie.CreatePDR: "Create PDR", ie.UpdatePDR: "Update PDR", ie.RemovePDR: "Remove PDR",
	ie.CreateFAR: "Create FAR", ie.UpdateFAR: "Update FAR", ie.RemoveFAR: "Remove FAR",
	ie.CreateQER: "Create QER", ie.UpdateQER: "Update QER",
	ie.CreateMAR: "Create MAR", ie.UpdateMAR: "Update MAR", ie.RemoveMAR: "Remove MAR",
	ie.PDRID: "PDR ID", ie.FARID: "FAR ID", ie.QERID: "QER ID", ie.MARID: "MAR ID",
	ie.Precedence: "Precedence", ie.PDI: "PDI", ie.SourceInterface: "Source Interface", ie.FTEID: "F-TEID",
	ie.NetworkInstance: "Network Instance", ie.UEIPAddress: "UE IP Address", ie.TGPPInterfaceType: "3GPP Interface Type",
	ie.OuterHeaderRemoval: "Outer Header Removal", ie.OuterHeaderCreation: "Outer Header Creation",
	ie.ApplyAction: "Apply Action", ie.ForwardingParameters: "Forwarding Parameters",
	ie.UpdateForwardingParameters: "Update Forwarding Parameters", ie.DestinationInterface: "Destination Interface",
	ie.GateStatus: "Gate Status", ie.QFI: "QFI",
	ie.SteeringFunctionality: "Steering Functionality", ie.SteeringMode: "Steering Mode",
	ie.TGPPAccessForwardingActionInformation:          "3GPP Access Forwarding Action Information",
	ie.NonTGPPAccessForwardingActionInformation:       "Non-3GPP Access Forwarding Action Information",
	ie.UpdateTGPPAccessForwardingActionInformation:    "Update 3GPP Access Forwarding Action Information",
	ie.UpdateNonTGPPAccessForwardingActionInformation: "Update Non-3GPP Access Forwarding Action Information",
	ie.Weight: "Weight", ie.Priority: "Priority", 288: "Thresholds", 289: "Steering Mode Indicator",
	ie.SDFFilter: "SDF Filter", ie.MPTCPApplicableIndication: "MPTCP Applicable Indication",
	ie.CreateSRR: "Create SRR", ie.RemoveSRR: "Remove SRR", ie.SRRID: "SRR ID",
	ie.AccessAvailabilityControlInformation:   "Access Availability Control Information",
	ie.RequestedAccessAvailabilityInformation: "Requested Access Availability Information",
	ie.ProvideATSSSControlInformation:         "Provide ATSSS Control Information",
	ie.MPTCPControlInformation:                "MPTCP Control Information",
	ie.ATSSSLLControlInformation:              "ATSSS-LL Control Information",
	ie.PMFControlInformation:                  "PMF Control Information",
}

// accepted is nil if cause accepts request, and says what is wrong otherwise.
// offending and failed may be nil.
func accepted(request string, cause, offending, failed *ie.IE) error {
	if cause == nil {
		return fmt.Errorf("%s: the answer has no Cause", request)
	}
	c, err := cause.ValueAsUint8()
	if err != nil {
		return fmt.Errorf("%s: Cause of the answer: %w", request, err)
	}
	if c == ie.CauseRequestAccepted {
		return nil
	}
	refused := &RefusedError{Request: request, Cause: c, FailedRule: failedRule(failed)}
	if offending != nil {
		if v, err := offending.ValueAsUint16(); err == nil {
			refused.OffendingIE = v
		}
	}
	return refused
}

// failedRule reads a Failed Rule ID (TS 29.244 §8.2.80): a type, then an ID of 1, 2
// or 4 octets. go-pfcp does not know the type MAR.
func failedRule(i *ie.IE) pfcp.RuleID {
	if i == nil || len(i.Payload) < 2 {
		return pfcp.RuleID{}
	}
	var id [4]byte
	b := i.Payload[1:min(len(i.Payload), 5)]
	copy(id[4-len(b):], b)
	return pfcp.RuleID{Kind: pfcp.RuleKind(i.Payload[0]&0x1f) + 1, ID: binary.BigEndian.Uint32(id[:])}
}
