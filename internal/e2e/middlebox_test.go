package e2e

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

// stripped are the counters that a connection moves whose options do not pass.
var stripped = []string{
	"MPTcpExtMPCapableDataFallback", "MPTcpExtDssFallback", "MPTcpExtMPFailTx", mpRstTx,
	"fallback_ack", "fallback_late", "drop_no_mapping",
}

// A middlebox on the only access takes the MPTCP options from all but SYNs, from the
// beginning, or from some time on while the UE only receives: the connection goes on as
// plain TCP (RFC 8684 §3.7).
func TestMiddleboxStripsOptions(t *testing.T) {
	for _, d := range []lab.Direction{lab.DirectionDown, lab.DirectionUp, lab.DirectionBoth} {
		t.Run(d.String()+", download", func(t *testing.T) { stripDuring(t, d, false, false) })
		t.Run(d.String()+", upload", func(t *testing.T) { stripDuring(t, d, false, true) })
		t.Run(d.String()+", download that has begun", func(t *testing.T) { stripDuring(t, d, true, false) })
	}
}

func stripDuring(t *testing.T, d lab.Direction, later, upload bool) {
	f := begin(t, stripped...)
	// The Linux client's MPTCP sends ACKs with timestamps that stand still (as with
	// DATA_FIN); a fallen-back client's pass as they are.
	f.allowDN = []string{"TcpExtPAWSEstab"}
	f.kill(nonTGPP) // a join would make falling back impossible
	im := lab.Impairment{Rate: 50e6, Delay: 5 * time.Millisecond}
	strip := im
	strip.Strip, strip.Direction = true, d
	f.link(tgpp, im)
	if !later {
		f.link(tgpp, strip)
	}
	b := pattern(4_000_000)
	addr := f.serve(func(c *net.TCPConn) error {
		if upload {
			return expect(c, b)
		}
		if err := expect(c, b[:1]); err != nil {
			return err
		}
		_, err := c.Write(b)
		return err
	})
	c := f.dial(addr)
	if upload {
		_, err := c.Write(b)
		f.check(err)
		f.await("all data acknowledged", transferTime, func() bool { return f.sendQueue(c) == 0 })
	} else {
		_, err := c.Write(b[:1])
		f.check(err)
		f.check(expect(c, b[:1_000_000]))
		if later {
			f.link(tgpp, strip)
		}
		f.check(expect(c, b[1_000_000:]))
		f.check(expectEOF(c))
	}
	_, info, err := established(inspector(c))
	f.check(err)
	if info.MPTCP {
		t.Error("the connection has not fallen back")
	}
}

// The same when the UE is sending: its mappings do not get through, and it sends again
// under others. Nothing wrong may reach the server, which is reset.
func TestMiddleboxStripsOptionsOfData(t *testing.T) {
	for _, d := range []lab.Direction{lab.DirectionUp, lab.DirectionBoth} {
		t.Run(d.String(), func(t *testing.T) {
			f := begin(t, append(stripped, "MPTcpExtFallbackFailed", "fallback_failed")...)
			f.kill(nonTGPP)
			im := lab.Impairment{Rate: 50e6, Delay: 5 * time.Millisecond}
			f.link(tgpp, im)
			im.Strip, im.Direction = true, d
			b := pattern(4_000_000)
			got := make(chan error, 1)
			half := make(chan struct{})
			addr := f.serve(func(c *net.TCPConn) error {
				if err := expect(c, b[:1_000_000]); err != nil {
					return err
				}
				close(half)
				got <- expect(c, b[1_000_000:])
				return nil
			})
			c := f.dial(addr)
			go func() {
				<-half
				if err := f.lab.Link(tgpp, im); err != nil {
					t.Error(err)
				}
			}()
			go c.Write(b) //nolint:errcheck // what became of it, the server says
			if err := <-got; err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the server got %v, want everything or ECONNRESET", err)
			}
			// The UE's kernel tells nobody of a reset without MP_FASTCLOSE.
			f.check(c.SetLinger(0))
			f.check(c.Close())
		})
	}
}
