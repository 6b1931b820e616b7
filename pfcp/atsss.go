package pfcp

import "github.com/wmnsk/go-pfcp/ie"

// ATSSSControl is Provide ATSSS Control Information (TS 29.244 Table 7.5.2.10-1): what
// a CP function wants the UP function to have ready for a multi-access session. One of
// a Session Modification Request takes the place of the one before, whole.
type ATSSSControl struct {
	MPTCP   bool        // TCI: an MPTCP proxy of type transport converter (§8.2.154)
	ATSSSLL bool        // LLI (§8.2.155)
	PMF     *PMFControl // nil = not there
	MPQUIC  uint8       // [MPQUICUDP] and so on; 0 = none (§8.2.225, Rel-18)
}

// PMFControl is PMF Control Information (§8.2.156).
type PMFControl struct {
	Required bool    // PMFI
	NoRTT    bool    // DRTTI: round trips may not be measured by PMFP
	PerFlow  bool    // PQPM: QFIs are measured each for itself
	QFIs     []uint8 // 6 bits each
}

// Flags of MPQUIC Control Information (§8.2.225): the proxy types that are wanted.
const (
	MPQUICUDP      uint8 = 1 << 0
	MPQUICIP       uint8 = 1 << 1
	MPQUICEthernet uint8 = 1 << 2
)

// Flags of PMF Control Information.
const (
	pmfiFlag  = 1 << 0
	drttiFlag = 1 << 1
	pqpmFlag  = 1 << 2
)

// ParseATSSSControl reads Provide ATSSS Control Information.
func ParseATSSSControl(i *ie.IE) (*ATSSSControl, *Error) {
	c := &ATSSSControl{}
	err := children(i, func(m *ie.IE) *Error {
		switch m.Type {
		case ie.MPTCPControlInformation:
			v, err := u8(m)
			c.MPTCP = v&1 != 0
			return err
		case ie.ATSSSLLControlInformation:
			v, err := u8(m)
			c.ATSSSLL = v&1 != 0
			return err
		case ie.PMFControlInformation:
			v, err := parsePMFControl(m)
			return set(&c.PMF, v, err)
		case typeMPQUICControlInformation:
			v, err := u8(m)
			c.MPQUIC = v & (MPQUICUDP | MPQUICIP | MPQUICEthernet)
			return err
		}
		return nil
	})
	return c, err
}

// parsePMFControl reads PMF Control Information; of Rel-16 it ends behind the flags.
func parsePMFControl(i *ie.IE) (PMFControl, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return PMFControl{}, err
	}
	c := PMFControl{Required: b[0]&pmfiFlag != 0, NoRTT: b[0]&drttiFlag != 0, PerFlow: b[0]&pqpmFlag != 0}
	if len(b) > 1 {
		n, list := int(b[1]), b[2:]
		if len(list) < n {
			return PMFControl{}, malformed(i, "%d QFIs in %d octets", n, len(list))
		}
		for _, q := range list[:n] {
			c.QFIs = append(c.QFIs, q&0x3f)
		}
	}
	if c.PerFlow && len(c.QFIs) == 0 {
		return PMFControl{}, malformed(i, "PQPM without a QFI")
	}
	return c, nil
}

// IE encodes c. What is not wanted is left out.
func (c *ATSSSControl) IE() *ie.IE {
	var g []*ie.IE
	if c.MPTCP {
		g = append(g, ie.New(ie.MPTCPControlInformation, []byte{1}))
	}
	if c.ATSSSLL {
		g = append(g, ie.New(ie.ATSSSLLControlInformation, []byte{1}))
	}
	if p := c.PMF; p != nil {
		b := []byte{bit(p.Required, pmfiFlag) | bit(p.NoRTT, drttiFlag) | bit(p.PerFlow, pqpmFlag), byte(len(p.QFIs))}
		g = append(g, ie.New(ie.PMFControlInformation, append(b, p.QFIs...)))
	}
	if c.MPQUIC != 0 {
		g = append(g, ie.New(typeMPQUICControlInformation, []byte{c.MPQUIC}))
	}
	return ie.NewGroupedIE(ie.ProvideATSSSControlInformation, g...)
}

// ATSSSParameters are ATSSS Control Parameters (TS 29.244 Table 7.5.3.7-1): what the UP
// function has ready of what [ATSSSControl] asks for. Of MPQUIC there is nothing here.
type ATSSSParameters struct {
	MPTCP   *MPTCPParameters // nil = none
	ATSSSLL bool             // LLI (§8.2.160)
	PMF     []PMFParameters  // the default ones have no QFI
}

// MPTCPParameters are MPTCP Parameters (Table 7.5.3.7-2).
type MPTCPParameters struct {
	Proxy        MPTCPAddress
	LinkSpecific LinkSpecific
}

// PMFParameters are PMF Parameters (Table 7.5.3.7-4).
type PMFParameters struct {
	Address PMFAddress
	QFI     *uint8 // the QoS flow that Address is for; nil = the default one
}

// ParseATSSSParameters reads ATSSS Control Parameters.
func ParseATSSSParameters(i *ie.IE) (*ATSSSParameters, *Error) {
	p := &ATSSSParameters{}
	err := children(i, func(m *ie.IE) *Error {
		switch m.Type {
		case ie.MPTCPParameters:
			v, err := parseMPTCPParameters(m)
			return set(&p.MPTCP, v, err)
		case ie.ATSSSLLParameters:
			v, err := parseATSSSLLParameters(m)
			p.ATSSSLL = v
			return err
		case ie.PMFParameters:
			v, err := parsePMFParameters(m)
			return add(&p.PMF, v, err)
		}
		return nil
	})
	return p, err
}

func parseMPTCPParameters(i *ie.IE) (MPTCPParameters, *Error) {
	var proxy *MPTCPAddress
	var link *LinkSpecific
	err := children(i, func(m *ie.IE) *Error {
		switch m.Type {
		case ie.MPTCPAddressInformation:
			v, err := ParseMPTCPAddress(m)
			return set(&proxy, v, err)
		case ie.UELinkSpecificIPAddress:
			v, err := ParseLinkSpecific(m)
			return set(&link, v, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return MPTCPParameters{}, err
	case proxy == nil:
		return MPTCPParameters{}, missing("MPTCP Parameters", ie.MPTCPAddressInformation)
	case link == nil:
		return MPTCPParameters{}, missing("MPTCP Parameters", ie.UELinkSpecificIPAddress)
	}
	return MPTCPParameters{*proxy, *link}, nil
}

func parseATSSSLLParameters(i *ie.IE) (bool, *Error) {
	var info *uint8
	err := children(i, func(m *ie.IE) *Error {
		if m.Type != ie.ATSSSLLInformation {
			return nil
		}
		v, err := u8(m)
		return set(&info, v, err)
	})
	if err == nil && info == nil {
		err = missing("ATSSS-LL Parameters", ie.ATSSSLLInformation)
	}
	return err == nil && *info&1 != 0, err
}

func parsePMFParameters(i *ie.IE) (PMFParameters, *Error) {
	var p PMFParameters
	found := false
	err := children(i, func(m *ie.IE) *Error {
		var err *Error
		switch m.Type {
		case ie.PMFAddressInformation:
			p.Address, err = ParsePMFAddress(m)
			found = true
		case ie.QFI:
			var v uint8
			v, err = u8(m)
			return set(&p.QFI, v&0x3f, err)
		}
		return err
	})
	if err == nil && !found {
		err = missing("PMF Parameters", ie.PMFAddressInformation)
	}
	return p, err
}

// IE encodes p.
func (p *ATSSSParameters) IE() *ie.IE {
	var g []*ie.IE
	if m := p.MPTCP; m != nil {
		g = append(g, ie.NewGroupedIE(ie.MPTCPParameters, m.Proxy.IE(), m.LinkSpecific.IE()))
	}
	if p.ATSSSLL {
		g = append(g, ie.NewGroupedIE(ie.ATSSSLLParameters, ie.New(ie.ATSSSLLInformation, []byte{1})))
	}
	for _, f := range p.PMF {
		members := []*ie.IE{f.Address.IE()}
		if f.QFI != nil {
			members = append(members, ie.NewQFI(*f.QFI))
		}
		g = append(g, ie.NewGroupedIE(ie.PMFParameters, members...))
	}
	return ie.NewGroupedIE(ie.ATSSSControlParameters, g...)
}
