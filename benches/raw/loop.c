/* The plain C loop: librdkafka's batch call and its event queue, one thread, nothing in between.
 *
 * raw-loop MODE TOPIC PARTITIONS SIZE RECORDS WARM_UP WINDOW KEY=VALUE...
 *
 * MODE `copy`: librdkafka chooses partitions and copies payloads. MODE `limit`: each call names its
 * partition and payloads are borrowed, the least work for the library.
 *
 * Prints one line of JSON: the measurement between the first record after the warm-up and the last report. */

#include "rdkafka.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define BULK 1000
#define BUFFER ((size_t)64 << 20)

static long outstanding, failed;

static void fail(const char *what, const char *why) {
        fprintf(stderr, "raw-loop: %s: %s\n", what, why);
        exit(1);
}

static void drain(rd_kafka_queue_t *queue, int timeout_ms) {
        const rd_kafka_message_t *messages[BULK];
        rd_kafka_event_t *event;
        size_t count, i;

        while ((event = rd_kafka_queue_poll(queue, timeout_ms))) {
                if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
                        while ((count = rd_kafka_event_message_array(event, messages, BULK)) > 0) {
                                for (i = 0; i < count; i++)
                                        failed += messages[i]->err != RD_KAFKA_RESP_ERR_NO_ERROR;
                                outstanding -= (long)count;
                        }
                }
                rd_kafka_event_destroy(event);
                timeout_ms = 0;
        }
}

static double now(void) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static double seconds(struct timeval time) {
        return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static double cpu(struct rusage *usage) {
        getrusage(RUSAGE_SELF, usage);
        return seconds(usage->ru_utime) + seconds(usage->ru_stime);
}

int main(int argc, char **argv) {
        char why[512];
        if (argc < 8)
                fail("usage", "MODE TOPIC PARTITIONS SIZE RECORDS WARM_UP WINDOW KEY=VALUE...");
        int borrow          = !strcmp(argv[1], "limit");
        long partitions     = atol(argv[3]);
        size_t size         = (size_t)atol(argv[4]);
        long records        = atol(argv[5]);
        long warm_up        = atol(argv[6]);
        long window         = atol(argv[7]);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();

        for (int i = 8; i < argc; i++) {
                char *value = strchr(argv[i], '=');
                if (!value)
                        fail(argv[i], "KEY=VALUE is expected");
                *value++ = 0;
                if (rd_kafka_conf_set(conf, argv[i], value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
                        fail(argv[i], why);
        }
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
        rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
        if (!client)
                fail("rd_kafka_new", why);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(client, argv[2], NULL);
        if (!topic)
                fail("rd_kafka_topic_new", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_queue_t *queue = rd_kafka_queue_get_main(client);

        unsigned char *payloads = malloc(BUFFER);
        rd_kafka_message_t *batch = calloc(BULK, sizeof(*batch));
        if (!payloads || !batch)
                fail("malloc", "no memory");
        for (size_t i = 0; i < BUFFER; i++)
                payloads[i] = (unsigned char)(((unsigned)i * 2654435761u) >> 24);

        size_t at = 0;
        int32_t partition = 0;
        double started = 0, cpu_before = 0;
        struct rusage usage;
        for (int phase = 0; phase < 2; phase++) {
                long todo = phase ? records : warm_up;
                started    = now();
                cpu_before = cpu(&usage);
                while (todo > 0 || outstanding > 0) {
                        long count = window - outstanding;
                        count = count > BULK ? BULK : count;
                        count = count > todo ? todo : count;
                        for (long i = 0; i < count; i++) {
                                if (at + size > BUFFER)
                                        at = 0;
                                batch[i].payload = payloads + at;
                                batch[i].len     = size;
                                at += size;
                        }
                        if (count > 0) {
                                int good = rd_kafka_produce_batch(
                                    topic, borrow ? partition : RD_KAFKA_PARTITION_UA,
                                    borrow ? 0 : RD_KAFKA_MSG_F_COPY, batch, (int)count);
                                failed += count - good;
                                outstanding += good;
                                todo -= count;
                                partition = (int32_t)((partition + 1) % partitions);
                        }
                        drain(queue, count > 0 ? 0 : -1);
                }
        }
        double elapsed = now() - started;
        double spent   = cpu(&usage) - cpu_before;
        printf("{\"sent\": %ld, \"records\": %ld, \"seconds\": %.9f, \"cpu_seconds\": %.9f, \"allocations\": null, "
               "\"peak_kib\": %ld, \"failed\": %ld}\n",
               warm_up + records, records, elapsed, spent, usage.ru_maxrss, failed);
        rd_kafka_queue_destroy(queue);
        rd_kafka_topic_destroy(topic);
        rd_kafka_destroy(client);
        return 0;
}
