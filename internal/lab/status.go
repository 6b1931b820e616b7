package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/smf"
)

// PrintStatus writes a table of all that the lab consists of, for a person.
func (l *Lab) PrintStatus(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "lab %s\t%s\n\n", l.name, l.dir)
	l.printNamespaces(t)
	if err := l.printProcesses(t); err != nil {
		return err
	}
	l.printAccesses(t)
	l.printUE(t)
	if err := l.printSessions(t); err != nil {
		return err
	}
	return t.Flush()
}

func (l *Lab) printNamespaces(w io.Writer) {
	notes := map[string]string{
		UE:    fmt.Sprintf("ue0 %v, ue1 %v", UEAddr[0], UEAddr[1]),
		GNB:   fmt.Sprintf("%v", accessPlans[0].n3),
		N3IWF: fmt.Sprintf("%v", accessPlans[1].n3),
		UPF:   fmt.Sprintf("N3 %v, N4 %v, N6 %v", UPFN3Addr, UPFN4Addr, upfN6Addr),
		SMF:   SMFAddr.String(),
		DN:    fmt.Sprintf("%v, http://%v/", DNAddr, DNAddr),
	}
	fmt.Fprint(w, "NAMESPACE\tADDRESSES\n")
	for _, role := range Roles() {
		fmt.Fprintf(w, "%s\t%s\n", l.Namespace(role), notes[role])
	}
}

func (l *Lab) printProcesses(w io.Writer) error {
	ps, err := l.processes()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "\nPROCESS\tPID\tSTATE\n")
	for _, p := range ps {
		state := "runs"
		if !p.alive() {
			state = "has ended: see " + l.path(p.Name+".log")
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", p.Name, p.PID, state)
	}
	return nil
}

func (l *Lab) printAccesses(w io.Writer) {
	fmt.Fprint(w, "\nACCESS\tWAY\tPACKETS\tBYTES\tLOST\tQUEUE FULL\tDOWN\tOTHER DROPS\tREORDERED\tDUPLICATED\tIMPAIRMENT\n")
	var all [steer.NumAccesses]Stats
	for a := range steer.Access(steer.NumAccesses) {
		s, err := l.AccessStats(a)
		if err != nil {
			fmt.Fprintf(w, "%v\t%v\n", a, err)
			continue
		}
		for _, d := range []Direction{DirectionUp, DirectionDown} {
			c := s.Of(d)
			fmt.Fprintf(w, "%v\t%v\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\n", a, d, c.Packets, c.Bytes, c.Lost, c.QueueFull, c.BlackHole,
				c.Overflow+c.SendFailed+c.Malformed, c.Reordered, c.Duplicated, c.Impairment)
		}
		all[a] = s
	}
	fmt.Fprint(w, "\nACCESS\tUPLINK TUNNEL\tECHO REQUESTS\tERROR INDICATIONS\tEND MARKERS\tUNKNOWN TEID\n")
	for a, s := range all {
		tunnel := "unknown"
		if s.Tunnel != nil {
			tunnel = fmt.Sprintf("%#x at %v", s.Tunnel.TEID, s.Tunnel.Peer)
		}
		fmt.Fprintf(w, "%v\t%s\t%d\t%d\t%d\t%d\n", steer.Access(a), tunnel, s.Echo, s.Errors, s.EndMarkers, s.UnknownTEID)
	}
}

func (l *Lab) printSessions(w io.Writer) error {
	st, err := l.SMFState()
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprint(w, "\nno session: the lab runs no smf\n")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nASSOCIATION\t%s %s\n", st.Association, st.Error)
	for i := range st.Sessions {
		printSession(w, &st.Sessions[i])
	}
	return nil
}

func printSession(w io.Writer, s *smf.SessionState) {
	fmt.Fprintf(w, "session %s\tUP SEID %s %s\n", s.Name, s.UPSEID, s.Error)
	if p := s.ATSSS; p != nil {
		if p.MPTCP != nil {
			fmt.Fprintf(w, "  MPTCP proxy\t%v\tlink-specific: 3gpp %v, non-3gpp %v\n", p.MPTCP.Proxy, p.MPTCP.LinkSpecific.TGPP, p.MPTCP.LinkSpecific.NonTGPP)
		}
		for _, f := range p.PMF {
			flow := "default QoS flow"
			if f.QFI != 0 {
				flow = fmt.Sprintf("QFI %d", f.QFI)
			}
			fmt.Fprintf(w, "  PMF, %s\t%v\tports: 3gpp %d, non-3gpp %d\n", flow, f.Addresses, f.Ports.TGPP, f.Ports.NonTGPP)
		}
	}
	for _, r := range s.Reports {
		status := "unavailable"
		if r.Available {
			status = "available"
		}
		fmt.Fprintf(w, "  report\t%s is %s\t%s\n", r.Access, status, r.Time.Format(time.RFC3339Nano))
	}
}

// printUE shows what the UE's PMF knows, if there is one.
func (l *Lab) printUE(w io.Writer) {
	s, err := l.UEStats()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		fmt.Fprintf(w, "\nUE\t%v\n", err)
		return
	}
	if s.PMF == nil {
		return
	}
	fmt.Fprint(w, "\nUE'S PMF\tAVAILABLE\tLAST HEARD\tROUND TRIP\tUPLINK LOST\n")
	for a, v := range s.PMF.Access {
		heard, rtt, lost := "never", "-", "-"
		if !v.Heard.IsZero() {
			heard = time.Since(v.Heard).Round(time.Millisecond).String() + " ago"
		}
		if v.RTTs > 0 {
			rtt = v.RTT.Round(10 * time.Microsecond).String()
		}
		if v.Sent > 0 {
			lost = fmt.Sprintf("%.2f%% (%d of %d)", 100*float64(v.Lost)/float64(v.Sent), v.Lost, v.Sent)
		}
		fmt.Fprintf(w, "%v\t%v\t%s\t%s\t%s\n", steer.Access(a), v.Available, heard, rtt, lost)
	}
}
