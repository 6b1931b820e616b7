package smf

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// provide asks the UPF for what a wants; nothing if that is nothing.
func (a *ATSSS) provide() []*ie.IE {
	if a.equal(&ATSSS{}) {
		return nil
	}
	c := pfcp.ATSSSControl{MPTCP: a.MPTCP, ATSSSLL: a.ATSSSLL}
	if p := a.PMF; p != nil {
		c.PMF = &pfcp.PMFControl{Required: true, NoRTT: p.NoRTT, PerFlow: len(p.QFIs) > 0, QFIs: p.QFIs}
	}
	return []*ie.IE{c.IE()}
}

func (a *ATSSS) equal(b *ATSSS) bool {
	if a.MPTCP != b.MPTCP || a.ATSSSLL != b.ATSSSLL || (a.PMF == nil) != (b.PMF == nil) {
		return false
	}
	return a.PMF == nil || a.PMF.NoRTT == b.PMF.NoRTT && slices.Equal(a.PMF.QFIs, b.PMF.QFIs)
}

// provides says whether a MAR may have the functionality: where the UPF is asked for
// anything, it has what it is asked for alone.
func (a *ATSSS) provides(f steer.Functionality) bool {
	return a.equal(&ATSSS{}) || f == steer.MPTCP && a.MPTCP || f == steer.ATSSSLL && a.ATSSSLL
}

// createSRR asks for a report each time that an access becomes available or unavailable.
func createSRR() *ie.IE {
	info := pfcp.RRCA
	r := pfcp.SRR{ID: availableSRR, Availability: &info}
	return r.IE(ie.CreateSRR)
}

// takeParameters reads the ATSSS Control Parameters of an answer, nil if there are none,
// and compares them with what was asked for.
func takeParameters(asked *ATSSS, answered *ie.IE) (*ATSSSParameters, error) {
	if asked.equal(&ATSSS{}) {
		return nil, nil
	}
	if answered == nil {
		return nil, errors.New("the answer has no ATSSS Control Parameters")
	}
	p, perr := pfcp.ParseATSSSParameters(answered)
	if perr != nil {
		return nil, fmt.Errorf("ATSSS Control Parameters: %w", perr)
	}
	switch {
	case asked.MPTCP && p.MPTCP == nil:
		return nil, errors.New("the answer has no MPTCP Parameters")
	case asked.ATSSSLL && !p.ATSSSLL:
		return nil, errors.New("the answer has no ATSSS-LL Parameters")
	case asked.PMF != nil && len(p.PMF) == 0:
		return nil, errors.New("the answer has no PMF Parameters")
	}
	out := &ATSSSParameters{ATSSSLL: p.ATSSSLL}
	if m := p.MPTCP; m != nil {
		out.MPTCP = mptcpParameters(m)
	}
	for _, f := range p.PMF {
		out.PMF = append(out.PMF, pmfParameters(&f))
	}
	return out, nil
}

func mptcpParameters(m *pfcp.MPTCPParameters) *MPTCPParameters {
	out := &MPTCPParameters{ProxyType: m.Proxy.Type, Proxy: []netip.AddrPort{}}
	for _, addr := range valid(m.Proxy.IPv4, m.Proxy.IPv6) {
		out.Proxy = append(out.Proxy, netip.AddrPortFrom(addr, m.Proxy.Port))
	}
	for a, list := range []*[]netip.Addr{&out.LinkSpecific.TGPP, &out.LinkSpecific.NonTGPP} {
		*list = valid(m.LinkSpecific.IPv4[a], m.LinkSpecific.IPv6[a])
	}
	return out
}

func pmfParameters(p *pfcp.PMFParameters) PMFParameters {
	out := PMFParameters{
		Addresses: valid(p.Address.IPv4, p.Address.IPv6),
		Ports:     PMFPorts{TGPP: p.Address.Port[steer.Access3GPP], NonTGPP: p.Address.Port[steer.AccessNon3GPP]},
	}
	if p.QFI != nil {
		out.QFI = *p.QFI
	}
	return out
}

// log tells what the UE is to be told.
func (p *ATSSSParameters) log(log *slog.Logger) {
	if p == nil {
		return
	}
	if m := p.MPTCP; m != nil {
		log.Info("MPTCP proxy", "address", m.Proxy, "type", m.ProxyType,
			"link_specific_3gpp", m.LinkSpecific.TGPP, "link_specific_non_3gpp", m.LinkSpecific.NonTGPP)
	}
	for _, f := range p.PMF {
		log.Info("PMF", "qfi", f.QFI, "address", f.Addresses, "port_3gpp", f.Ports.TGPP, "port_non_3gpp", f.Ports.NonTGPP)
	}
}

// valid leaves out the zero Addrs.
func valid(addrs ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() })
}

// availability is an access availability report as it came in.
type availability struct {
	seid uint64 // ours
	AccessReport
}

// maxReports bounds the reports that a session's state shows; the newest stay.
const maxReports = 32

// takeReport keeps a report with its session.
func (s *SMF) takeReport(r availability) {
	for _, ses := range s.sessions {
		if ses.cpSEID == r.seid {
			ses.reports = append(ses.reports, r.AccessReport)
			ses.reports = ses.reports[max(0, len(ses.reports)-maxReports):]
		}
	}
}

// readReports reads the session reports of a Session Report Request.
func readReports(seid uint64, reports []*ie.IE, now time.Time) ([]availability, error) {
	var all []availability
	for _, i := range reports {
		r, err := pfcp.ParseSessionReport(i)
		if err != nil {
			return nil, err
		}
		for _, a := range r.Availability {
			all = append(all, availability{seid, AccessReport{Time: now, Access: steer.Access(a.Access).String(), Available: a.Available}})
		}
	}
	return all, nil
}
