// An agent of somebody else's: the official Go SDK, A2A 1.0, one binding, one replica.
//
// Usage: a2a-go-agent -binding jsonrpc|rest|grpc [-name NAME]
//
// Prints one line when its ports are open: `ready http=PORT grpc=PORT`. Its card is on the HTTP port
// whatever the binding. What it does with a message is what ../../python/agent.py says at its top, as
// far as the matrix asks for it.
package main

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"log"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/a2asrv/taskstore"
	"google.golang.org/grpc"
)

var (
	binding = flag.String("binding", "", "jsonrpc, rest or grpc")
	name    = flag.String("name", "steward", "its name")

	wait = regexp.MustCompile(`\bwait (\d+(?:\.\d+)?) seconds?`)
	sum  = regexp.MustCompile(`^what is ([\d+*]+)\??$`)
)

// steward does sums, waits and bookings.
type steward struct{}

// work says the events of one task until nobody listens.
type work struct {
	at   a2a.TaskInfoProvider
	say  func(a2a.Event, error) bool
	gone bool
}

func (w *work) event(event a2a.Event) {
	w.gone = w.gone || !w.say(event, nil)
}

func (w *work) state(state a2a.TaskState, words string) {
	var message *a2a.Message
	if words != "" {
		message = a2a.NewMessageForTask(a2a.MessageRoleAgent, w.at, a2a.NewTextPart(words))
	}
	w.event(a2a.NewStatusUpdateEvent(w.at, state, message))
}

func (w *work) answer(parts ...*a2a.Part) {
	artifact := a2a.NewArtifactEvent(w.at, parts...)
	artifact.LastChunk = true
	w.event(artifact)
	w.state(a2a.TaskStateCompleted, "")
}

func (w *work) wait(ctx context.Context, seconds float64) {
	pieces := max(2, min(10, int(seconds*4+0.5)))
	id := a2a.NewArtifactID()
	for piece := range pieces {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(seconds * float64(time.Second) / float64(pieces))):
		}
		tick := a2a.NewArtifactUpdateEvent(w.at, id, a2a.NewTextPart(fmt.Sprintf("tick %d ", piece)))
		tick.Append = piece > 0
		tick.LastChunk = piece+1 == pieces
		if w.event(tick); w.gone {
			return
		}
	}
	w.state(a2a.TaskStateCompleted, "")
}

func (steward) Execute(ctx context.Context, asked *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(say func(a2a.Event, error) bool) {
		w := &work{at: asked, say: say}
		// Read before work starts: the task known here is the store's own, which changes.
		known := asked.StoredTask
		awaited := known != nil && known.Status.State == a2a.TaskStateInputRequired
		if known == nil {
			task := a2a.NewSubmittedTask(asked, asked.Message)
			now := time.Now()
			task.Status.Timestamp = &now
			w.event(task)
		}
		w.state(a2a.TaskStateWorking, "working on it")
		if w.gone {
			return
		}
		w.decide(ctx, asked.Message, awaited)
	}
}

func (w *work) decide(ctx context.Context, message *a2a.Message, awaited bool) {
	text := message.Parts[0].Text()
	switch {
	case awaited:
		w.answer(a2a.NewTextPart("table booked: " + text))
	case strings.Contains(text, "return these"):
		w.answer(message.Parts[1:]...)
	case strings.Contains(text, "fail now"):
		w.state(a2a.TaskStateFailed, "failed as told")
	case strings.Contains(text, "book"):
		w.state(a2a.TaskStateInputRequired, "for how many people?")
	case wait.MatchString(text):
		seconds, err := strconv.ParseFloat(wait.FindStringSubmatch(text)[1], 64)
		if err != nil {
			w.state(a2a.TaskStateFailed, err.Error())
			return
		}
		w.wait(ctx, seconds)
	case sum.MatchString(text):
		w.answer(a2a.NewTextPart(calculate(sum.FindStringSubmatch(text)[1])))
	default:
		w.answer(a2a.NewTextPart(text))
	}
}

// calculate works out a sum of products.
func calculate(text string) string {
	total := 0
	for term := range strings.SplitSeq(text, "+") {
		product := 1
		for factor := range strings.SplitSeq(term, "*") {
			number, err := strconv.Atoi(factor)
			if err != nil {
				return err.Error()
			}
			product *= number
		}
		total += product
	}
	return strconv.Itoa(total)
}

func (steward) Cancel(_ context.Context, asked *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(say func(a2a.Event, error) bool) {
		say(a2a.NewStatusUpdateEvent(asked, a2a.TaskStateCanceled, nil), nil)
	}
}

func card(http, grpc int) *a2a.AgentCard {
	interfaces := map[string]*a2a.AgentInterface{
		"jsonrpc": a2a.NewAgentInterface(
			fmt.Sprintf("http://127.0.0.1:%d/a2a/jsonrpc", http), a2a.TransportProtocolJSONRPC),
		"rest": a2a.NewAgentInterface(
			fmt.Sprintf("http://127.0.0.1:%d/a2a/rest", http), a2a.TransportProtocolHTTPJSON),
		"grpc": a2a.NewAgentInterface(
			fmt.Sprintf("127.0.0.1:%d", grpc), a2a.TransportProtocolGRPC),
	}
	offered, known := interfaces[*binding]
	if !known {
		log.Fatalf("%q is no binding", *binding)
	}
	return &a2a.AgentCard{
		Name:                *name,
		Description:         "Sums, waits and bookings, on the Go SDK.",
		Version:             "1.0.0",
		SupportedInterfaces: []*a2a.AgentInterface{offered},
		Capabilities:        a2a.AgentCapabilities{Streaming: true},
		DefaultInputModes:   []string{"text/plain"},
		DefaultOutputModes:  []string{"text/plain"},
		Skills: []a2a.AgentSkill{{
			ID: "steward", Name: "Steward", Description: "Sums, waits and bookings.",
			Tags: []string{"sum", "wait", "book"},
		}},
	}
}

func listen() (net.Listener, int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener, listener.Addr().(*net.TCPAddr).Port
}

func main() {
	flag.Parse()
	web, webPort := listen()
	calls, callsPort := listen()
	served := card(webPort, callsPort)
	// The SDK's store lists tasks for callers with a name only; here all have the same.
	store := taskstore.NewInMemory(&taskstore.InMemoryStoreConfig{
		Authenticator: func(context.Context) (string, error) { return "anyone", nil },
	})
	desk := a2asrv.NewHandler(steward{},
		a2asrv.WithTaskStore(store), a2asrv.WithCapabilityChecks(&served.Capabilities))

	mux := http.NewServeMux()
	mux.Handle(a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(served))
	switch *binding {
	case "jsonrpc":
		mux.Handle("/a2a/jsonrpc", a2asrv.NewJSONRPCHandler(desk))
	case "rest":
		mux.Handle("/a2a/rest/", http.StripPrefix("/a2a/rest", a2asrv.NewRESTHandler(desk)))
	case "grpc":
		server := grpc.NewServer()
		a2agrpc.NewHandler(desk).RegisterWith(server)
		go func() { log.Fatal(server.Serve(calls)) }()
	}
	fmt.Printf("ready http=%d grpc=%d\n", webPort, callsPort)
	log.Fatal(http.Serve(web, mux))
}
