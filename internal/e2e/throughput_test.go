package e2e

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

// Over an access that loses 1% of its packets MPTCP moves at least 95% of what plain
// TCP moves over the same access at the same time. No rate couples the connections:
// what bounds each is its congestion window, and so the losses it meets. Those are
// random, and so is the ratio of the means of both kinds; its standard error, which
// the connections' differences give, is about 2% at the end. The test fails if the
// ratio is lower than 95% by more than chance makes it, and ends as soon as it is
// higher by as much.
//
// Where the machine has too little time for the lab, waiting for a CPU and not loss
// is what bounds the connections; one that waits once in a while takes it for an
// access that does not answer. Then 80% is enough.
func TestThroughputUnderLoss(t *testing.T) {
	for _, d := range []lab.Direction{lab.DirectionDown, lab.DirectionUp} {
		t.Run(d.String(), func(t *testing.T) {
			const (
				slice   = 3 * time.Second
				slices  = 6 // at most
				certain = 2 // standard errors

				oneWay = 7 * time.Millisecond
				// What loss leaves a connection (Mathis et al., The Macroscopic Behavior of
				// the TCP Congestion Avoidance Algorithm): 1.22 MSS / (RTT sqrt(loss)), Mbit/s.
				bound = 1.22 * 1348 * 8e-6 / (0.014 * 0.1)
			)
			least := 0.95
			f := begin(t, mpRstTx) // what is under way at the end is aborted
			f.link(tgpp, lab.Impairment{Delay: oneWay, Loss: 0.01})
			r := f.race(d)
			var plain, ratio, sigma float64
			for range slices {
				time.Sleep(slice)
				plain, ratio, sigma = r.ratio(t)
				if math.Abs(ratio-least) > certain*sigma {
					break
				}
			}
			if plain < bound*2/3 {
				t.Logf("the machine is busy: loss alone would leave plain TCP about %.2f Mbit/s", bound)
				least = 0.8
			}
			if ratio < least-certain*sigma {
				t.Errorf("MPTCP moves %.3f (standard error %.3f) of what plain TCP moves, want %.2f at least", ratio, sigma, least)
			}
			if all := f.carried(d); all[nonTGPP] > all[tgpp]/100 {
				t.Errorf("the accesses carried %d bytes, the standby more than 1%%", all)
			}
		})
	}
}

// race is connections that move data without end, plain TCP and MPTCP side by side.
type race struct {
	begun time.Time
	moved [2][racers]atomic.Int64 // bytes; plain TCP is 0, MPTCP 1
	first [2][racers]int64        // of moved, when begun
}

const racers = 16 // of each kind

// race starts the connections, and the measurement when they are past slow start;
// they are aborted at the end of the test.
func (f *fixture) race(d lab.Direction) *race {
	f.Helper()
	r := &race{}
	addr := f.serve(func(c *net.TCPConn) error { return endless(c, d == lab.DirectionDown, new(atomic.Int64)) })
	var mptcp []*net.TCPConn
	for i := range 2 * racers {
		f.client.Plain = i%2 == 0
		c := f.dial(addr)
		if !f.client.Plain {
			mptcp = append(mptcp, c)
		}
		ended := make(chan error)
		go func() { ended <- endless(c, d == lab.DirectionUp, &r.moved[i%2][i/2]) }()
		f.Cleanup(func() {
			f.check(c.SetLinger(0))
			f.check(c.SetDeadline(time.Now()))
			f.check(<-ended)
		})
	}
	for _, c := range mptcp {
		f.awaitSubflows(inspector(c))
	}
	time.Sleep(2 * time.Second)
	r.begun = time.Now()
	for k := range r.moved {
		for i := range r.moved[k] {
			r.first[k][i] = r.moved[k][i].Load()
		}
	}
	return r
}

// ratio is plain TCP's mean in Mbit/s since the race began, MPTCP's over it and the
// standard error of that.
func (r *race) ratio(t *testing.T) (plain, ratio, sigma float64) {
	took := time.Since(r.begun).Seconds()
	var mean, relative [2]float64
	for k := range r.moved {
		var sum, squares float64
		for i := range r.moved[k] {
			v := float64(r.moved[k][i].Load()-r.first[k][i]) * 8e-6 / took
			sum += v
			squares += v * v
		}
		mean[k] = sum / racers
		variance := (squares - sum*mean[k]) / (racers - 1)
		relative[k] = math.Sqrt(variance/racers) / mean[k]
	}
	ratio = mean[1] / mean[0]
	sigma = ratio * math.Hypot(relative[0], relative[1])
	t.Logf("after %.0f s: MPTCP %.2f, plain TCP %.2f Mbit/s a connection, ratio %.3f, standard error %.3f",
		took, mean[1], mean[0], ratio, sigma)
	return mean[0], ratio, sigma
}

// endless sends or receives on c until c's deadline passes or the other side ends,
// and adds what it moved to count.
func endless(c *net.TCPConn, send bool, count *atomic.Int64) error {
	b := make([]byte, 256<<10)
	step := c.Read
	if send {
		step = c.Write
	}
	for {
		n, err := step(b)
		count.Add(int64(n))
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			return nil
		case err != nil:
			return err
		}
	}
}
