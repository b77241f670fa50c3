#include <stdint.h>

extern uint32_t records_ended(uint32_t topic, uint64_t nanos);

int main(int argc, char **argv)
{
    (void)argv;
    return records_ended((uint32_t)argc, (uint64_t)argc * 1000) == 29 ? 0 : 1;
}
