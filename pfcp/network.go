package pfcp

import (
	"encoding/hex"

	"github.com/wmnsk/go-pfcp/ie"
)

// Network is what a Session Establishment Request says of the network that the session
// leads to, beside its Network Instances (TS 29.244 Table 7.5.2.1-1). SMFs may leave out
// both.
type Network struct {
	DNN string // APN/DNN (§8.2.117); "" = not said
	SST uint8  // slice/service type of the S-NSSAI (§8.2.171, TS 23.003 §28.4.2); valid if HasSlice
	SD  string // slice differentiator, six lower case hex digits; "" = none

	HasSlice bool
}

// noSD stands for the lack of a slice differentiator.
const noSD = "ffffff"

// ParseNetwork reads the IEs APN/DNN and S-NSSAI; nil where one was not there.
func ParseNetwork(dnn, snssai *ie.IE) (n Network, err *Error) {
	if dnn != nil {
		n.DNN = networkInstance(dnn) // it comes as labels or plain, too
	}
	if snssai == nil {
		return n, nil
	}
	b, err := octets(snssai, 4)
	if err != nil {
		return n, err
	}
	n.HasSlice, n.SST = true, b[0]
	if sd := hex.EncodeToString(b[1:4]); sd != noSD {
		n.SD = sd
	}
	return n, nil
}

// IEs are the IEs that n was read from.
func (n *Network) IEs() []*ie.IE {
	var ies []*ie.IE
	if n.DNN != "" {
		ies = append(ies, ie.New(ie.APNDNN, encodeName(n.DNN)))
	}
	if n.HasSlice {
		sd, _ := hex.DecodeString(n.SD)
		if len(sd) != 3 {
			sd = []byte{0xff, 0xff, 0xff}
		}
		ies = append(ies, ie.New(ie.SNSSAI, append([]byte{n.SST}, sd...)))
	}
	return ies
}
